import { WardcastError } from '../base/errors.ts';
import { type Scope, scopePath } from '../base/identity.ts';
import { inspectForeign, inspectMetadata } from './inspect.ts';
import { isScoped, parseMetadataName } from './roles.ts';

/** What a repository's metadata must be beyond TUF, decided before a byte of it is parsed by anybody else. */
export interface MetadataPolicy {
  /** The role of a metadata file's (URL-encoded) name; undefined when it is no name that this repository may have. */
  roleOf(name: string): string | undefined;
  /** @throws METADATA_INVALID, LIMIT_EXCEEDED, BUNDLE_SCOPE … */
  check(role: string, name: string, bytes: Buffer): void;
}

/** Ours: canonical bytes only, and what is signed for one group is for this group. */
export function groupPolicy(scope: Scope): MetadataPolicy {
  return {
    roleOf: (name) => parseMetadataName(name)?.role,
    check: (role, name, bytes) => {
      const { scope: named } = inspectMetadata(role, bytes);
      if (isScoped(role) && named !== scopePath(scope)) {
        throw new WardcastError('BUNDLE_SCOPE', `The metadata file ${name} is for ${named ?? 'nobody'}, not for ${scopePath(scope)}`);
      }
    },
  };
}

/** Any TUF repository: what the specification asks for and no more; with and without consistent snapshots, any role name. */
export const anyRepository: MetadataPolicy = {
  roleOf: (name) => {
    const encoded = /^(?:[1-9][0-9]{0,14}\.)?(.{1,1000})\.json$/.exec(name)?.[1];
    return encoded === undefined ? undefined : decodeURIComponent(encoded);
  },
  check: (role, _name, bytes) => void inspectForeign(role, bytes),
};
