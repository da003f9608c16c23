import { execFileSync } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { expect, it } from 'vitest';
import { createKeyPair } from '../../certs/build.ts';
import { createRequest, readRequest, readRequestPem, requestPem } from '../../certs/request.ts';

it('A request proves its key, and openssl reads it and verifies it too', async () => {
  const pair = await createKeyPair();
  const request = createRequest(pair, 'ct-1');
  expect(readRequest(request).publicKey.equals(pair.publicKey)).toBe(true);
  expect(readRequestPem(requestPem(request))).toEqual(request);
  const said = execFileSync('openssl', ['req', '-verify', '-noout', '-subject'], { input: requestPem(request), stdio: ['pipe', 'pipe', 'pipe'] }).toString();
  expect(said).toContain('ct-1');
});

it('A request made by openssl is read', () => {
  const pem = execFileSync('openssl', ['req', '-new', '-newkey', 'rsa:2048', '-nodes', '-keyout', '/dev/null', '-subj', '/CN=ct-9'], {
    stdio: ['ignore', 'pipe', 'ignore'],
  }).toString();
  expect(readRequest(readRequestPem(pem)).key).toMatch(/^[0-9a-f]{64}$/);
});

it('No changed byte of a request passes: it is malformed or its signature fails', async () => {
  const request = createRequest(await createKeyPair(), 'ct-1');
  const { key } = readRequest(request);
  for (let at = 0; at < request.length; at += 3) {
    const changed = Buffer.from(request);
    changed[at] = (changed[at] ?? 0) ^ 0x41;
    // The parameters of the algorithm may be left out or be NULL; nothing else may change.
    let read: string | undefined;
    try {
      read = readRequest(changed).key;
    } catch (error) {
      expect(error).toMatchObject({ code: 'CERT_INVALID' });
    }
    expect([undefined, key]).toContain(read);
    if (read !== undefined) expect(changed.subarray(0, 400)).toEqual(request.subarray(0, 400));
  }
});

it('A request for another key than the one that signed it is refused, and so are weak keys', async () => {
  const [one, other] = await Promise.all([createKeyPair(), createKeyPair()]);
  expect(() => readRequest(createRequest({ publicKey: one.publicKey, privateKey: other.privateKey }, 'ct-1'))).toThrow(/signature/);
  const weak = generateKeyPairSync('rsa', { modulusLength: 1024 });
  expect(() => readRequest(createRequest(weak, 'ct-1'))).toThrow(/1024 bits/);
});
