import fc from 'fast-check';
import { mutated, noise } from '../mutation.ts';

/** HTTP/1.1 as it should not be: answers at chunk clients. */

export const header = fc.oneof(
  fc.constantFrom(
    ...[
      'host: x',
      'content-length: 32',
      'content-length: 31',
      'content-length: -1',
      'content-length: 99999999999999999999',
      'Content-Length: 0',
      'transfer-encoding: chunked',
    ],
    ...[
      'transfer-encoding: chunked, identity',
      'Transfer-Encoding: xchunked',
      'transfer-encoding : chunked',
      'transfer-encoding:\tchunked',
      'expect: 100-continue',
      'expect: x',
    ],
    ...[
      'connection: close',
      'connection: keep-alive, upgrade',
      'upgrade: h2c',
      'upgrade: websocket',
      'x: \u0000',
      ' folded: yes',
      'content-length: 5\r\ncontent-length: 6',
      'trailer: x',
    ],
    ...['range: bytes=0-', `x: ${'y'.repeat(20_000)}`, 'host: a\r\nhost: b', ': empty', 'no-colon', 'x:\r', 'te: trailers'],
  ),
  fc.tuple(fc.string({ maxLength: 10 }), fc.string({ maxLength: 20 })).map(([name, value]) => `${name}: ${value}`),
);
const answers = [
  'HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabc',
  'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n',
  'HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n',
  'HTTP/1.1 403 Forbidden\r\nx-wardcast-refused: CERT_WRONG_ROLE\r\ncontent-length: 0\r\nconnection: close\r\n\r\n',
].map((text) => Buffer.from(text));

export const httpResponse: fc.Arbitrary<Buffer> = fc.oneof(
  mutated(answers),
  fc.array(header, { maxLength: 8 }).map((headers) => Buffer.from(`HTTP/1.1 200 OK\r\n${headers.join('\r\n')}\r\n\r\nabc`, 'latin1')),
  noise,
);
