import { sha256 } from '../../../shared/bundle/digest.ts';

/** What a thief came home with. A theft is judged by this alone: an error met on the way proves nothing, and neither does silence. */
export class Loot {
  readonly #secrets: ReadonlySet<string>;
  #bytes = 0;

  /** `secrets`: hashes of the chunks, manifests and bundles that only group A may have. */
  constructor(secrets: ReadonlySet<string>) {
    this.#secrets = secrets;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** Looks at bytes that came from elsewhere and keeps them when they are group A's. */
  look(bytes: Buffer): void {
    if (bytes.length > 0 && this.#secrets.has(sha256(bytes))) this.keep(bytes);
  }

  /** Keeps bytes that are group A's because of where they came from, whatever they are. */
  keep(bytes: Buffer): void {
    this.#bytes += bytes.length;
  }
}
