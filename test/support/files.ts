import { createCipheriv, createHash } from 'node:crypto';

/** Bytes that depend on `seed` alone and do not compress. */
export function bytesOf(seed: string, length: number): Buffer {
  const key = createHash('sha256').update(seed).digest();
  return createCipheriv('aes-256-ctr', key, Buffer.alloc(16)).update(Buffer.alloc(length));
}

/**
 * The files of a made-up release: most of `size` is the same in every version of an application, a fifth changes with the version.
 * VERSION names the version, so that a mix of two would show.
 */
export function filesOf(application: string, version: string, size: number): Record<string, Buffer | string> {
  const steady = bytesOf(`${application}/library`, Math.floor(size * 0.8));
  return {
    VERSION: `${version}\n`,
    'bin/start.sh': `#!/bin/sh\necho ${application} ${version}\n`,
    'lib/library.bin': steady,
    'lib/engine.bin': bytesOf(`${application}/${version}/engine`, size - steady.length),
    'share/readme.txt': `${application}\n`,
    'share/empty': '',
  };
}
