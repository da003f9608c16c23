import type { Scope } from '../../shared/base/identity.ts';
import { sha256 } from '../../shared/bundle/digest.ts';
import type { ChunkList } from '../../shared/bundle/manifest.ts';
import type { ServedBundle } from '../../shared/net/chunk-server.ts';

/** A bundle of one group, in memory. */
export class MemoryBundle implements ServedBundle {
  readonly scope: Scope;
  readonly chunks = new Map<string, Buffer>();
  readonly files = new Map<string, Buffer>();
  readonly manifests = new Map<string, ChunkList>();
  readonly reads: string[] = [];

  constructor(scope: Scope) {
    this.scope = scope;
  }

  add(bytes: Buffer): string {
    const hash = sha256(bytes);
    this.chunks.set(hash, bytes);
    return hash;
  }

  has(hash: string): boolean {
    return this.chunks.has(hash);
  }

  async metadata(name: string): Promise<Buffer | undefined> {
    return this.files.get(name);
  }

  async target(hash: string): Promise<Buffer | undefined> {
    return this.files.get(hash);
  }

  manifest(sha256: string): ChunkList | undefined {
    return this.manifests.get(sha256);
  }

  async chunk(hash: string): Promise<Buffer | undefined> {
    this.reads.push(hash);
    return this.chunks.get(hash);
  }
}
