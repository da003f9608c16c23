import { WardcastError } from '../base/errors.ts';

export interface ResponseHead {
  readonly status: number;
  /** By lower-case name. */
  readonly headers: ReadonlyMap<string, string>;
}

export interface ResponseListener {
  /** May throw: the answer is given up. */
  readonly onHead: (head: ResponseHead) => void;
  /** A piece of the body. The bytes are overwritten after the call: copy them. */
  readonly onBody: (bytes: Buffer) => void;
}

/** Bytes of a status line with its headers, and of the line before a chunk (RFC 9112, 7.1): Wardcast's servers send far less. */
const MAX_HEAD = 8192;
const MAX_LINE = 128;
const END_OF_HEAD = Buffer.from('\r\n\r\n');
const LF = 10;

/**
 * Reads one HTTP/1.1 response (RFC 9112) as it streams in, however it is split. Node's own client hands every TLS record through two streams and two
 * fresh buffers; on the LAN that cost more than decrypting and hashing together.
 */
export class ResponseParser {
  readonly #listener: ResponseListener;
  #state: 'head' | 'length' | 'size' | 'chunk' | 'after-chunk' | 'trailer' | 'done' = 'head';
  #held: Buffer = Buffer.alloc(0);
  #left = 0;
  #keepAlive = true;

  constructor(listener: ResponseListener) {
    this.#listener = listener;
  }

  get done(): boolean {
    return this.#state === 'done';
  }

  /** May the connection carry another request? */
  get keepAlive(): boolean {
    return this.done && this.#keepAlive;
  }

  /** @throws PROTOCOL_VIOLATION, and what the listener throws */
  push(bytes: Buffer): void {
    let at = 0;
    while (at < bytes.length) {
      switch (this.#state) {
        case 'head':
          at = this.#readHead(bytes, at);
          break;
        case 'length':
        case 'chunk':
          at = this.#readBody(bytes, at);
          break;
        case 'size':
        case 'after-chunk':
        case 'trailer':
          at = this.#readLine(bytes, at);
          break;
        case 'done':
          throw violation('more bytes than the answer has');
      }
    }
  }

  #readHead(bytes: Buffer, at: number): number {
    const before = this.#held.length;
    this.#held = Buffer.concat([this.#held, bytes.subarray(at, at + MAX_HEAD)]);
    const end = this.#held.indexOf(END_OF_HEAD);
    if (end < 0) {
      if (this.#held.length >= MAX_HEAD) throw violation('a head without end');
      return bytes.length;
    }
    const head = parseHead(this.#held.subarray(0, end).toString('latin1'));
    this.#held = Buffer.alloc(0);
    this.#begin(head);
    this.#listener.onHead(head);
    return at + end + END_OF_HEAD.length - before;
  }

  /** RFC 9112, 6.3. */
  #begin({ status, headers }: ResponseHead): void {
    this.#keepAlive = headers.get('connection')?.toLowerCase() !== 'close';
    if (headers.get('transfer-encoding')?.toLowerCase() === 'chunked') {
      this.#state = 'size';
      return;
    }
    const length = headers.get('content-length') ?? '';
    if (!/^[0-9]{1,15}$/.test(length)) throw violation(`status ${status} without the length of its body`);
    this.#left = Number(length);
    this.#state = this.#left === 0 ? 'done' : 'length';
  }

  #readBody(bytes: Buffer, at: number): number {
    const end = Math.min(bytes.length, at + this.#left);
    this.#left -= end - at;
    if (this.#left === 0) this.#state = this.#state === 'length' ? 'done' : 'after-chunk';
    this.#listener.onBody(bytes.subarray(at, end));
    return end;
  }

  #readLine(bytes: Buffer, at: number): number {
    const lf = bytes.indexOf(LF, at);
    const end = lf < 0 ? bytes.length : lf + 1;
    if (this.#held.length + end - at > MAX_LINE) throw violation('a line without end');
    this.#held = Buffer.concat([this.#held, bytes.subarray(at, end)]);
    if (lf < 0) return end;
    const line = this.#held.toString('latin1').trimEnd();
    this.#held = Buffer.alloc(0);
    if (this.#state === 'size') this.#beginChunk(line);
    else if (this.#state === 'after-chunk') {
      if (line !== '') throw violation('a chunk that is longer than it said');
      this.#state = 'size';
    } else if (line === '') this.#state = 'done';
    return end;
  }

  #beginChunk(line: string): void {
    if (!/^[0-9a-f]{1,8}$/i.test(line)) throw violation('a chunk without its size');
    this.#left = Number.parseInt(line, 16);
    this.#state = this.#left === 0 ? 'trailer' : 'chunk';
  }
}

function parseHead(text: string): ResponseHead {
  const [first = '', ...lines] = text.split('\r\n');
  const status = /^HTTP\/1\.1 ([2-5][0-9]{2})( |$)/.exec(first)?.[1];
  if (status === undefined) throw violation('no HTTP/1.1 status line');
  const headers = new Map<string, string>();
  for (const line of lines) {
    const colon = line.indexOf(':');
    if (colon <= 0) throw violation('a malformed header');
    headers.set(line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim());
  }
  return { status: Number(status), headers };
}

function violation(what: string): WardcastError {
  return new WardcastError('PROTOCOL_VIOLATION', `The other side sent ${what}`, { remedy: 'Is this a Wardcast daemon of the same version?' });
}
