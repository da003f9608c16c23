import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isWardcastError } from '../../../shared/base/errors.ts';
import { ResponseParser } from '../../../shared/net/http-response.ts';

interface Read {
  readonly status: number | undefined;
  readonly refused: string | undefined;
  readonly body: string;
  readonly done: boolean;
  readonly keepAlive: boolean;
}

/** Feeds the pieces through one buffer that is overwritten, as a connection does. */
function read(pieces: readonly Buffer[]): Read {
  let status: number | undefined;
  let refused: string | undefined;
  const body: Buffer[] = [];
  const parser = new ResponseParser({
    onHead: (head) => {
      status = head.status;
      refused = head.headers.get('x-wardcast-refused');
    },
    onBody: (bytes) => body.push(Buffer.from(bytes)),
  });
  for (const piece of pieces) {
    const shared = Buffer.from(piece);
    parser.push(shared);
    shared.fill(0xff);
  }
  return { status, refused, body: Buffer.concat(body).toString('latin1'), done: parser.done, keepAlive: parser.keepAlive };
}

const text = (value: string): Buffer => Buffer.from(value, 'latin1');
const CHUNKED = 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n';

function chunked(parts: readonly string[]): string {
  return `${CHUNKED}${parts.map((part) => `${part.length.toString(16)}\r\n${part}\r\n`).join('')}0\r\n\r\n`;
}

function cutAt(bytes: Buffer, cuts: readonly number[]): Buffer[] {
  const places = [0, ...[...new Set(cuts.map((cut) => cut % bytes.length))].sort((a, b) => a - b), bytes.length];
  return places.slice(1).map((end, index) => bytes.subarray(places[index], end));
}

describe('an http response', () => {
  it('with a length is read to its end', () => {
    expect(read([text('HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc')])).toMatchObject({ status: 200, body: 'abc', done: true, keepAlive: true });
  });

  it('without a body ends with its head', () => {
    expect(read([text('HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n')])).toMatchObject({ status: 404, body: '', done: true });
  });

  it('that closes the connection says so, and why', () => {
    const answer = 'HTTP/1.1 403 Forbidden\r\nx-wardcast-refused: CERT_WRONG_ROLE\r\ncontent-length: 0\r\nconnection: close\r\n\r\n';
    expect(read([text(answer)])).toMatchObject({ status: 403, refused: 'CERT_WRONG_ROLE', done: true, keepAlive: false });
  });

  it('is the same however it is cut', () => {
    const parts = fc.array(fc.string({ minLength: 1, maxLength: 40, unit: 'binary-ascii' }), { maxLength: 5 });
    fc.assert(
      fc.property(parts, fc.array(fc.nat(1000), { maxLength: 20 }), (body, cuts) => {
        const bytes = text(chunked(body));
        expect(read(cutAt(bytes, cuts))).toEqual(read([bytes]));
        expect(read([bytes])).toMatchObject({ body: body.join(''), done: true, keepAlive: true });
      }),
    );
  });

  it('is not done before its last byte', () => {
    const bytes = text(chunked(['abc', 'defg']));
    for (let end = 0; end < bytes.length; end++) expect(read([bytes.subarray(0, end)]).done).toBe(false);
  });

  it.each([
    ['no http', 'SSH-2.0-OpenSSH_9\r\n\r\n'],
    ['another version', 'HTTP/2 200 OK\r\ncontent-length: 0\r\n\r\n'],
    ['a body without length', 'HTTP/1.1 200 OK\r\n\r\n'],
    ['a malformed length', 'HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n'],
    ['a malformed header', 'HTTP/1.1 200 OK\r\n: x\r\n\r\n'],
    ['a head without end', `HTTP/1.1 200 OK\r\nx: ${'y'.repeat(20_000)}`],
    ['a malformed chunk size', `${CHUNKED}xyz\r\n`],
    ['a chunk size without end', `${CHUNKED}${'1'.repeat(500)}`],
    ['a chunk longer than it said', `${CHUNKED}2\r\nabcd\r\n`],
    ['a second answer', 'HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nab'],
  ])('is refused when it is %s', (_what, answer) => {
    expect(() => read([text(answer)])).toThrow(expect.toSatisfy((error: unknown) => isWardcastError(error, 'PROTOCOL_VIOLATION')));
  });
});
