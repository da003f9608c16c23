import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { systemCode } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import { makeDirectory, writeDurably } from './durable-file.ts';

/** The lower bound of the time, kept over restarts as systemd-timesyncd keeps its `clock` file: `<data>/time.json`. */
const FILE = 'time.json';
const TimeFile = z.strictObject({ format: z.literal(1), trusted: z.iso.datetime() });

/** Milliseconds since 1970; undefined when there is none. One that cannot be read is none: a bound that is lost costs care, a refusal to start would cost the device. */
export async function readTrustedTime(directory: string, log: Log): Promise<number | undefined> {
  try {
    const { trusted } = TimeFile.parse(JSON.parse(await readFile(join(directory, FILE), 'utf8')));
    return Date.parse(trusted);
  } catch (error) {
    if (systemCode(error) !== 'ENOENT') log.warn('time.record-unusable', { error });
    return undefined;
  }
}

/** Whole or not at all, also in a power cut. @throws STORAGE_FAILED */
export async function writeTrustedTime(directory: string, trusted: number): Promise<void> {
  await makeDirectory(directory);
  await writeDurably(join(directory, FILE), `${JSON.stringify({ format: 1, trusted: new Date(trusted).toISOString() })}\n`);
}
