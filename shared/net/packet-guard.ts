import { MAX_CONNECT_PACKET, MAX_PACKET } from '../base/limits.ts';

/** First bytes of MQTT 3.1.1 packets (table 2.1). */
export const CONNECT = 0x10;
export const CONNACK = 0x20;

/**
 * Follows the frames of an MQTT 3.1.1 byte stream (section 2.2) and says when a packet is longer than allowed, as soon as its length
 * is known and before anybody buffers it: neither aedes nor mqtt.js has a limit of its own. Looks at headers only, so it costs next to nothing.
 */
export class PacketGuard {
  readonly #firstType: number;
  readonly #limit: number;
  #currentLimit: number;
  #packets = 0;
  /** Bytes of the current packet's body still to come. */
  #remaining = 0;
  /** Bytes of the current packet's header so far; 0: between packets. */
  #header = 0;
  #length = 0;
  #wrong: string | undefined;

  /** @param o.first the type the first packet must have; `firstLimit`, `limit`: bytes of the first packet and of each later one, header included */
  constructor(o: { readonly first: number; readonly firstLimit?: number; readonly limit?: number }) {
    this.#firstType = o.first;
    this.#currentLimit = o.firstLimit ?? MAX_CONNECT_PACKET;
    this.#limit = o.limit ?? MAX_PACKET;
  }

  /** Packets whose header was seen whole. */
  get packets(): number {
    return this.#packets;
  }

  /** Takes the next bytes; returns what is wrong with them, from then on always. */
  push(bytes: Uint8Array): string | undefined {
    let at = 0;
    while (this.#wrong === undefined && at < bytes.length) {
      if (this.#remaining > 0) {
        const step = Math.min(this.#remaining, bytes.length - at);
        this.#remaining -= step;
        at += step;
      } else {
        this.#wrong = this.#takeHeader(bytes[at] ?? 0);
        at++;
      }
    }
    return this.#wrong;
  }

  #takeHeader(byte: number): string | undefined {
    if (this.#header === 0) {
      if (this.#packets === 0 && byte !== this.#firstType) return `the first packet is of type ${byte >> 4}, not ${this.#firstType >> 4}`;
      this.#header = 1;
      this.#length = 0;
      return undefined;
    }
    // Remaining length, 2.2.3: up to four bytes, seven bits each, least significant first.
    this.#length += (byte & 0x7f) * 2 ** (7 * (this.#header - 1));
    this.#header++;
    if ((byte & 0x80) !== 0) return this.#header > 4 ? 'a packet length has more than four bytes' : undefined;
    const total = this.#header + this.#length;
    if (total > this.#currentLimit) return `a packet of ${total} bytes is over the limit of ${this.#currentLimit}`;
    this.#packets++;
    this.#remaining = this.#length;
    this.#header = 0;
    this.#currentLimit = this.#limit;
    return undefined;
  }
}
