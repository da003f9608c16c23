import type { TLSSocket } from 'node:tls';
import { toWardcastError, WardcastError } from '../base/errors.ts';
import { LAN_READ_BUFFER, LAN_TIMEOUT } from '../base/limits.ts';
import { type DialOptions, dial } from './dial.ts';
import { type ResponseListener, ResponseParser } from './http-response.ts';

/** One exchange under way. */
interface Exchange {
  readonly parser: ResponseParser;
  readonly end: () => void;
  readonly fail: (error: unknown) => void;
}

/**
 * One kept connection that carries one request after the other and reads into one buffer, which no stream or garbage collector sees.
 * Whoever proves the server is dial(), as everywhere.
 */
export class HttpLane {
  readonly #options: Omit<DialOptions, 'onRead'>;
  readonly #buffer = Buffer.allocUnsafeSlow(LAN_READ_BUFFER);
  #socket: TLSSocket | undefined;
  #exchange: Exchange | undefined;
  #heard = false;

  constructor(options: Omit<DialOptions, 'onRead'>) {
    this.#options = options;
  }

  /**
   * Posts `body` and tells the listener of the answer; resolves when it has ended.
   * @throws CONNECTION_LOST, OBJECT_TIMEOUT, PROTOCOL_VIOLATION, what the listener throws, and as dial()
   */
  async post(path: string, body: Buffer, listener: ResponseListener): Promise<void> {
    const reused = this.#socket !== undefined;
    try {
      await this.#post(path, body, listener);
    } catch (error) {
      const closedMeanwhile = reused && !this.#heard && error instanceof WardcastError && error.code === 'CONNECTION_LOST';
      // A kept connection may have been closed by the other side just now: nothing was answered, so nothing is done twice.
      if (!closedMeanwhile || this.#options.signal?.aborted === true) throw error;
      await this.#post(path, body, listener);
    }
  }

  close(): void {
    this.#lose(new WardcastError('CONNECTION_LOST', `The connection to ${this.#address} was closed`));
  }

  get #address(): string {
    return `${this.#options.host}:${this.#options.port}`;
  }

  async #post(path: string, body: Buffer, listener: ResponseListener): Promise<void> {
    this.#heard = false;
    const socket = this.#socket ?? (await this.#connect());
    const head = `POST ${path} HTTP/1.1\r\nhost: wardcast\r\ncontent-length: ${body.length}\r\n\r\n`;
    const parser = new ResponseParser(listener);
    try {
      await new Promise<void>((resolve, reject) => {
        this.#exchange = { parser, end: resolve, fail: reject };
        socket.ref();
        socket.setTimeout(LAN_TIMEOUT);
        socket.write(Buffer.concat([Buffer.from(head, 'latin1'), body]));
      });
    } finally {
      this.#exchange = undefined;
      socket.setTimeout(0);
      // An idle connection keeps nobody from ending.
      socket.unref();
    }
    if (!parser.keepAlive) this.close();
  }

  async #connect(): Promise<TLSSocket> {
    const { socket } = await dial({ ...this.#options, onRead: { buffer: this.#buffer, callback: (count) => this.#read(count) } });
    this.#socket = socket;
    const lost = (error?: unknown): void => {
      if (this.#socket === socket) this.#lose(toWardcastError(error, 'CONNECTION_LOST', `The connection to ${this.#address} broke`));
    };
    socket.on('error', lost);
    socket.on('end', () => lost());
    socket.on('close', () => lost());
    socket.on('timeout', () => this.#lose(new WardcastError('OBJECT_TIMEOUT', `${this.#address} was silent for ${LAN_TIMEOUT / 1000} s`)));
    return socket;
  }

  /** Always takes more: who asks bounds how much can come. */
  #read(count: number): boolean {
    const exchange = this.#exchange;
    this.#heard = true;
    try {
      if (exchange === undefined) throw new WardcastError('PROTOCOL_VIOLATION', `${this.#address} answered what was not asked`);
      exchange.parser.push(this.#buffer.subarray(0, count));
      if (exchange.parser.done) exchange.end();
    } catch (error) {
      this.#lose(error);
    }
    return true;
  }

  #lose(error: unknown): void {
    const socket = this.#socket;
    this.#socket = undefined;
    this.#exchange?.fail(error);
    socket?.destroy();
  }
}
