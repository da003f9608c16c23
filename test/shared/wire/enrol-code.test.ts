import { randomBytes } from 'node:crypto';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { checkProof, makeCode, parseCode, printCode, proofOf, verifierOf } from '../../../shared/wire/enrol-code.ts';

it('A code survives being printed and typed as people type', () => {
  fc.assert(
    fc.property(fc.constant(undefined), fc.boolean(), fc.boolean(), (_, lower, spaces) => {
      const code = makeCode();
      let text = printCode(code);
      expect(text).toMatch(/^([0-9A-HJKMNP-TV-Z]{4}-){3}[0-9A-HJKMNP-TV-Z]{4}$/);
      text = text.replaceAll('0', 'o').replaceAll('1', 'l');
      if (lower) text = text.toLowerCase();
      if (spaces) text = ` ${text.replaceAll('-', ' ')}\n`;
      expect(parseCode(text)).toEqual(code);
    }),
  );
});

it('What is no code is refused without being repeated', () => {
  for (const text of ['', 'ABCD', 'UUUU-UUUU-UUUU-UUUU', '7K3M-9QX2-TT4D-0PBAX']) {
    expect(() => parseCode(text)).toThrow('That is no enrolment code');
  }
});

it('A proof holds for its own token, device and request, and for nothing else', async () => {
  const [code, other] = [makeCode(), makeCode()];
  const [verifier, foreign] = await Promise.all([verifierOf(code), verifierOf(other)]);
  const request = randomBytes(300);
  const proof = await proofOf(code, 'ct-1', request);
  expect(checkProof(verifier, code.token, { device: 'ct-1', request, proof })).toBe(true);
  expect(checkProof(verifier, code.token, { device: 'ct-2', request, proof })).toBe(false);
  expect(checkProof(verifier, code.token, { device: 'ct-1', request: randomBytes(300), proof })).toBe(false);
  expect(checkProof(verifier, other.token, { device: 'ct-1', request, proof })).toBe(false);
  expect(checkProof(foreign, code.token, { device: 'ct-1', request, proof })).toBe(false);
  expect(checkProof(verifier, code.token, { device: 'ct-1', request, proof: verifier })).toBe(false);
  expect(checkProof(verifier, code.token, { device: 'ct-1', request, proof: '' })).toBe(false);
});

it('Neither verifier nor proof shows the code', async () => {
  const code = makeCode();
  const said = `${await verifierOf(code)} ${await proofOf(code, 'ct-1', Buffer.from('request'))}`;
  expect(said).not.toContain(code.secret);
  expect(said).not.toContain(Buffer.from(code.secret).toString('base64').slice(0, 15));
});
