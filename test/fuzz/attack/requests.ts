import fc from 'fast-check';
import { noise } from '../mutation.ts';
import { header } from './http.ts';

/** Requests at chunk servers as they should not be. */

const HASH = 'ab'.repeat(32);
const path = fc.oneof(
  fc.constantFrom(
    ...['/v1/acme/north/ct/metadata/timestamp.json', '/v1/acme/north/ct/chunks', `/v1/acme/north/ct/target/${HASH}`, `/v1/acme/north/pump/target/${HASH}`],
    ...[
      '/v1/acme/north/ct/metadata/..%2f..%2fkey.pem',
      '/v1/acme/north/ct/metadata/../../../../etc/passwd',
      '/v1/acme//ct/chunks',
      '/v1/acme/north/ct/chunks/',
      '*',
    ],
    ...[
      'http://other/v1/acme/north/ct/chunks',
      `/${'a'.repeat(9000)}`,
      '/v1/__proto__/constructor/toString/chunks',
      '/\u0000',
      '//',
      '/v1/acme/north/ct/metadata/timestamp.json?x=1#y',
    ],
  ),
  fc.string({ maxLength: 60 }).map((text) => `/${text}`),
);
const body = fc.oneof(
  fc.constant(Buffer.alloc(0)),
  fc.constantFrom(32, 31, 64, 4096, 4097).map((size) => Buffer.alloc(size, 0xab)),
  noise,
  fc
    .constantFrom('20\r\n', '0\r\n\r\n', 'fffffffffffffffff\r\n', '-1\r\n', '5;x=y\r\nabcde\r\n0\r\n\r\n', '1\r\na\r\n0\r\nx: y\r\n\r\nGET / HTTP/1.1\r\n\r\n')
    .map((text) => Buffer.from(text)),
);
const request = fc
  .tuple(
    fc.constantFrom('GET', 'POST', 'HEAD', 'PUT', 'CONNECT', 'TRACE', 'get', 'PRI', 'G\u0000T', ''),
    path,
    fc.constantFrom('HTTP/1.1', 'HTTP/1.0', 'HTTP/2.0', 'HTTP/9', ''),
    fc.array(header, { maxLength: 6 }),
    body,
  )
  .map(([method, target, version, headers, bytes]) =>
    Buffer.concat([Buffer.from(`${[method, target, version].join(' ')}\r\n${['host: x', ...headers].join('\r\n')}\r\n\r\n`, 'latin1'), bytes]),
  );

/** What one connection says: requests after one another without waiting, floods of them, requests inside bodies of others. */
export const httpRequests: fc.Arbitrary<readonly Buffer[]> = fc.oneof(
  { weight: 5, arbitrary: fc.array(request, { minLength: 1, maxLength: 5 }) },
  { weight: 1, arbitrary: fc.tuple(request, fc.constantFrom(50, 300)).map(([one, times]) => Array.from({ length: one.length > 5000 ? 3 : times }, () => one)) },
  {
    weight: 2,
    arbitrary: fc
      .tuple(request, request)
      .map(([outer, inner]) => [
        Buffer.concat([
          Buffer.from(`POST /v1/acme/north/ct/chunks HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n`),
          inner,
        ]),
        outer,
      ]),
  },
  { weight: 1, arbitrary: noise.map((bytes) => [bytes]) },
);
