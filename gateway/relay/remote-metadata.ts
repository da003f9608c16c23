import { isWardcastError, WardcastError } from '../../shared/base/errors.ts';
import type { MetadataSource } from '../../shared/trust/metadata-source.ts';
import type { ObjectKind } from '../../shared/wire/messages.ts';

/** Asks the provider for one object of a group; ObjectPuller of shared/net has it. */
export type GetObject = (
  ref: { readonly group: string; readonly kind: ObjectKind; readonly name: string },
  options: { size?: number; signal?: AbortSignal },
) => Promise<Buffer>;

/** A group's signed metadata, pulled over the line. Nothing is trusted here: refreshGroupView verifies. */
export function remoteMetadata(get: GetObject, group: string): MetadataSource {
  const fetch = async (kind: ObjectKind, name: string, maxBytes: number, signal: AbortSignal | undefined): Promise<Buffer | undefined> => {
    try {
      const bytes = await get({ group, kind, name }, signal === undefined ? {} : { signal });
      if (bytes.length <= maxBytes) return bytes;
      throw new WardcastError('LIMIT_EXCEEDED', `${name} has ${bytes.length} bytes, at most ${maxBytes} are allowed`, { context: { group, name } });
    } catch (error) {
      if (isWardcastError(error, 'OBJECT_ABSENT')) return undefined;
      throw error;
    }
  };
  return {
    metadata: (name, { maxBytes, signal }) => fetch('metadata', name, maxBytes, signal),
    target: (hash, { maxBytes, signal }) => fetch('target', hash, maxBytes, signal),
  };
}
