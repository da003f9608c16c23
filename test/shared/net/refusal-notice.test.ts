import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ERROR_CODES, type ErrorCode, WardcastError } from '../../../shared/base/errors.ts';
import { clientNotice, httpNotice, readNotice, serverNotice } from '../../../shared/net/refusal-notice.ts';

const codes = Object.keys(ERROR_CODES).filter((code): code is ErrorCode => code in ERROR_CODES);

describe('A refusal notice', () => {
  it('is read as it was written, from either side, whatever the words', () => {
    const error = fc
      .record({
        code: fc.constantFrom(...codes),
        message: fc.string({ unit: 'binary', maxLength: 500 }),
        remedy: fc.option(fc.string({ maxLength: 500 }), { nil: undefined }),
      })
      .map(({ code, message, remedy }) => new WardcastError(code, message, remedy === undefined ? {} : { remedy }));
    fc.assert(
      fc.property(error, (said) => {
        for (const bytes of [clientNotice(said), serverNotice(said)]) {
          const read = readNotice(bytes);
          expect(read).toMatchObject({ code: said.code, remedy: said.remedy });
          expect(read?.message).toBe(said.message.toWellFormed());
        }
      }),
    );
  });

  it('cuts words that are too long', () => {
    const read = readNotice(serverNotice(new WardcastError('CERT_EXPIRED', 'x'.repeat(5000), { remedy: 'y'.repeat(5000) })));
    expect(read?.message).toHaveLength(500);
    expect(read?.remedy).toHaveLength(500);
  });

  it('is not seen in anything else', () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => readNotice(Buffer.from(bytes)) === undefined));
    expect(readNotice(Buffer.from([0x20, 2, 0, 0]))).toBeUndefined();
    expect(readNotice(Buffer.from([0x20, 2, 0, 5]))).toBeUndefined();
  });

  it('does not take over a code it does not know', () => {
    const bytes = clientNotice(new WardcastError('CERT_EXPIRED', 'gone'));
    expect(readNotice(Buffer.from(bytes.toString('latin1').replace('CERT_EXPIRED', 'CERT_EXPLODE'), 'latin1'))).toBeUndefined();
  });

  it('names the code to http clients and nothing else', () => {
    expect(httpNotice(new WardcastError('CERT_WRONG_ROLE', 'secret words'))).toBe(
      'HTTP/1.1 403 Forbidden\r\nx-wardcast-refused: CERT_WRONG_ROLE\r\ncontent-length: 0\r\nconnection: close\r\n\r\n',
    );
  });
});
