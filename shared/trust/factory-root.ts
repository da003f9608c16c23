import { readFile } from 'node:fs/promises';
import { systemCode, WardcastError } from '../base/errors.ts';
import { MAX_ROOT_METADATA } from '../base/limits.ts';

/** The TUF root that came with the machine: the beginning of all trust in metadata. @throws CONFIG_INVALID */
export async function readFactoryRoot(file: string): Promise<Buffer> {
  const remedy = "Set `root` to the 1.root.json that came with the provider's keys.";
  const bytes = await readFile(file).catch((error: unknown) => {
    throw new WardcastError('CONFIG_INVALID', `The trusted root ${file} cannot be read: ${systemCode(error) ?? String(error)}`, { remedy, cause: error });
  });
  if (bytes.length > MAX_ROOT_METADATA) throw new WardcastError('CONFIG_INVALID', `${file} has ${bytes.length} bytes: that is no root metadata`, { remedy });
  return bytes;
}
