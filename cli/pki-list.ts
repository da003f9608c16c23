import { X509Certificate } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import { systemCode, WardcastError } from '../shared/base/errors.ts';

export interface PkiRow {
  readonly kind: 'ca' | 'issued';
  readonly name: string;
  readonly expires: string;
  readonly serial: string;
  /** As node:crypto prints it: one `TYPE=value` per line, outermost first. */
  readonly subject: string;
}

/** Every certificate in an offline PKI folder, read from the files themselves. @throws NOT_FOUND when it is no such folder */
export async function listPki(directory: string): Promise<PkiRow[]> {
  let files: string[];
  try {
    files = await readdir(directory, { recursive: true });
  } catch (error) {
    throw new WardcastError(
      systemCode(error) === 'ENOENT' ? 'NOT_FOUND' : 'STORAGE_FAILED',
      `${directory} cannot be read: ${systemCode(error) ?? String(error)}`,
      {
        remedy: 'Name the PKI folder with --dir, or make one with `wardcast pki init`.',
        cause: error,
      },
    );
  }
  const found = files.filter((file) => path.basename(file) === 'cert.pem' && !path.dirname(file).includes('.new-')).sort();
  return Promise.all(found.map((file) => rowOf(directory, file)));
}

async function rowOf(directory: string, file: string): Promise<PkiRow> {
  const certificate = new X509Certificate(await readFile(path.join(directory, file), 'utf8'));
  const folder = path.dirname(file).split(path.sep);
  const leaf = folder[0] === 'issued';
  return {
    kind: leaf ? 'issued' : 'ca',
    // A leaf's folder is issued/<identity>/<serial>.
    name: (leaf ? folder.slice(1, -1) : folder).join('/'),
    expires: certificate.validToDate.toISOString(),
    serial: certificate.serialNumber.toLowerCase(),
    subject: certificate.subject,
  };
}
