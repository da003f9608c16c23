import { WardcastError } from '../../shared/base/errors.ts';
import { METADATA_REQUEST_TIMEOUT } from '../../shared/base/limits.ts';
import type { FetchOptions } from '../../shared/trust/metadata-source.ts';

/** Files of a TUF repository over http. Nothing it says is believed; the caller bounds and verifies. */

/** A metadata file by its URL-encoded name; undefined when there is none. @throws METADATA_MISSING, LIMIT_EXCEEDED, ABORTED */
export async function fetchMetadata(base: string, name: string, { maxBytes, signal }: FetchOptions): Promise<Buffer | undefined> {
  const parts: Buffer[] = [];
  const found = await stream(join(base, name), maxBytes, signal, (part) => void parts.push(part));
  return found ? Buffer.concat(parts) : undefined;
}

/** Hands a file's bytes on as they come, never more than `maxBytes`. Returns whether the file exists. @throws METADATA_MISSING, LIMIT_EXCEEDED, ABORTED */
export async function stream(
  url: string,
  maxBytes: number,
  signal: AbortSignal | undefined,
  take: (part: Buffer) => Promise<void> | undefined,
): Promise<boolean> {
  // For silence, not for the whole: a large file over a slow line takes its time.
  const quiet = new AbortController();
  const timer = setTimeout(() => quiet.abort(), METADATA_REQUEST_TIMEOUT);
  try {
    const response = await fetch(url, { signal: signal === undefined ? quiet.signal : AbortSignal.any([signal, quiet.signal]) });
    if (response.status === 404 || response.status === 403) {
      await response.body?.cancel();
      return false;
    }
    if (!response.ok) throw new WardcastError('METADATA_MISSING', `${url} was answered with status ${response.status}`);
    let bytes = 0;
    for await (const part of response.body ?? []) {
      timer.refresh();
      bytes += part.length;
      // Endless data (5.3.3 and its like): stop reading, keep nothing.
      if (bytes > maxBytes) throw new WardcastError('LIMIT_EXCEEDED', `${url} has more than the ${maxBytes} bytes that are allowed`);
      await take(Buffer.from(part));
    }
    return true;
  } catch (cause) {
    if (cause instanceof WardcastError) throw cause;
    if (signal?.aborted === true) throw new WardcastError('ABORTED', 'Interrupted', { cause });
    const reason = quiet.signal.aborted ? 'no answer came in time' : cause instanceof Error ? cause.message : String(cause);
    throw new WardcastError('METADATA_MISSING', `${url} could not be fetched: ${reason}`, { cause });
  } finally {
    clearTimeout(timer);
  }
}

export function join(base: string, path: string): string {
  return `${base.replace(/\/+$/, '')}/${path}`;
}
