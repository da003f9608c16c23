import type { IncomingMessage, ServerResponse } from 'node:http';
import { isWardcastError } from '../base/errors.ts';
import { type Identity, identityPath, isId, type Scope, scopePath } from '../base/identity.ts';
import { LAN_READ_AHEAD, MAX_BATCH_CHUNKS, MAX_URL } from '../base/limits.ts';
import type { Log } from '../base/log.ts';
import { isSha256 } from '../bundle/digest.ts';
import type { ChunkList } from '../bundle/manifest.ts';
import { ObjectName } from '../wire/messages.ts';
import { type BundleContents, mayFetch, mayFetchScope } from '../wire/policy.ts';
import { ABSENT_FRAME, frameHeader, HASH_BYTES, parseHashes } from './chunk-frames.ts';

/** The complete bundle of one group, as it is handed out on the LAN. Undefined: it does not belong to it, or is not here. */
export interface ServedBundle extends BundleContents {
  metadata(name: string): Promise<Buffer | undefined>;
  target(sha256: string): Promise<Buffer | undefined>;
  chunk(hash: string): Promise<Buffer | undefined>;
  /** The chunks of one of its manifests (sha256); undefined: none of this bundle. */
  manifest(sha256: string): ChunkList | undefined;
}

/** The signed files alone: what a bundle becomes when nobody knows any more who was revoked since. */
export function withoutContent(bundle: ServedBundle): ServedBundle {
  return { ...bundle, has: () => false, manifest: () => undefined, chunk: async () => undefined };
}

/**
 * The https side of a gateway or agent, one handler for both:
 *
 *   GET  /v1/<customer>/<site>/<group>/metadata/<name>     a signed file
 *   GET  /v1/<customer>/<site>/<group>/target/<sha256>     a bundle or manifest
 *   POST /v1/<customer>/<site>/<group>/chunks              body: hashes, 32 bytes each; answer: frames (chunk-frames.ts)
 *
 * Whatever is denied, unknown or malformed gets the same empty 404, so that the answer tells a stranger nothing.
 */
export function createChunkHandler(options: {
  readonly log: Log;
  readonly bundles: (identity: Identity, scope: Scope) => ServedBundle | undefined;
}): (request: IncomingMessage, response: ServerResponse, identity: Identity) => void {
  const { log, bundles } = options;
  return (request, response, identity) => {
    serve(request, response, identity, bundles).catch((error: unknown) => {
      log.warn('serve.failed', { client: identityPath(identity), url: request.url?.slice(0, MAX_URL), error });
      // In the middle of an answer only the broken connection can say so.
      if (response.headersSent) response.destroy();
      else deny(response);
    });
  };
}

type Bundles = (identity: Identity, scope: Scope) => ServedBundle | undefined;

async function serve(request: IncomingMessage, response: ServerResponse, identity: Identity, bundles: Bundles): Promise<void> {
  // The body is read whatever the answer, or the connection could not be used again.
  const body = await readBody(request, MAX_BATCH_CHUNKS * HASH_BYTES);
  if (body === undefined) {
    response.shouldKeepAlive = false;
    deny(response);
    return;
  }
  const asked = parseUrl(request.url ?? '');
  // Asked before the bundle is looked for: how long that takes is no hint either.
  const bundle = asked !== undefined && mayFetchScope(identity, asked.scope) ? bundles(identity, asked.scope) : undefined;
  if (asked === undefined || bundle === undefined || scopePath(bundle.scope) !== scopePath(asked.scope)) {
    deny(response);
    return;
  }
  const hashes = request.method === 'POST' && asked.kind === 'chunks' ? parseHashes(body) : undefined;
  if (hashes !== undefined) {
    await sendChunks(response, identity, bundle, hashes);
    return;
  }
  const bytes = request.method === 'GET' ? await present(file(bundle, asked)) : undefined;
  if (bytes === undefined) {
    deny(response);
    return;
  }
  response.writeHead(200, { 'content-type': 'application/octet-stream', 'content-length': bytes.length });
  response.end(bytes);
}

interface Asked {
  readonly scope: Scope;
  readonly kind: 'metadata' | 'target' | 'chunks';
  readonly name: string;
}

/** Only the one way to write each path is known: nothing is decoded, so nothing can be written twice. */
function parseUrl(url: string): Asked | undefined {
  if (url.length > MAX_URL) return undefined;
  const [empty, version, customer = '', site = '', group = '', kind, name = '', ...more] = url.split('/');
  if (empty !== '' || version !== 'v1' || more.length > 0 || ![customer, site, group].every(isId)) return undefined;
  const scope = { customer, site, group };
  if (kind === 'chunks' && name === '' && !url.endsWith('/')) return { scope, kind, name };
  if (kind === 'target' && isSha256(name)) return { scope, kind, name };
  if (kind === 'metadata' && ObjectName.safeParse(name).success) return { scope, kind, name };
  return undefined;
}

async function file(bundle: ServedBundle, { kind, name }: Asked): Promise<Buffer | undefined> {
  if (kind === 'metadata') return bundle.metadata(name);
  if (kind === 'target') return bundle.target(name);
  return undefined;
}

/** Stores may say absent by undefined or by throwing it. */
async function present(read: Promise<Buffer | undefined>): Promise<Buffer | undefined> {
  try {
    return await read;
  } catch (error) {
    if (isWardcastError(error, 'OBJECT_ABSENT')) return undefined;
    throw error;
  }
}

function deny(response: ServerResponse): void {
  response.writeHead(404, { 'content-length': 0 });
  response.end();
}

async function readBody(request: IncomingMessage, max: number): Promise<Buffer | undefined> {
  const parts: Buffer[] = [];
  let size = 0;
  for await (const part of request) {
    if (!Buffer.isBuffer(part)) return undefined;
    size += part.length;
    if (size > max) return undefined;
    parts.push(part);
  }
  return Buffer.concat(parts);
}

async function sendChunks(response: ServerResponse, identity: Identity, bundle: ServedBundle, hashes: readonly string[]): Promise<void> {
  const read = async (hash: string): Promise<Buffer | undefined> => (mayFetch(identity, bundle, hash) ? present(bundle.chunk(hash)) : undefined);
  const ahead: Promise<Buffer | undefined>[] = [];
  let next = 0;
  const readAhead = (): void => {
    for (; ahead.length < LAN_READ_AHEAD && next < hashes.length; next++) {
      const reading = read(hashes[next] ?? '');
      // A failure is met when its turn comes; until then it must not count as unhandled.
      reading.catch(() => undefined);
      ahead.push(reading);
    }
  };
  response.writeHead(200, { 'content-type': 'application/octet-stream' });
  for (let sent = 0; sent < hashes.length; sent++) {
    readAhead();
    const bytes = await ahead.shift();
    if (response.destroyed) return;
    // Header and bytes leave in one write; the bytes are not copied here.
    response.cork();
    response.write(bytes === undefined ? ABSENT_FRAME : frameHeader(bytes.length));
    const room = bytes === undefined || response.write(bytes);
    response.uncork();
    if (!room) await drained(response);
  }
  response.end();
}

function drained(response: ServerResponse): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      response.off('drain', done);
      response.off('close', done);
      resolve();
    };
    response.once('drain', done);
    response.once('close', done);
  });
}
