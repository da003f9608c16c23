import type { z } from 'zod';
import type { Clock } from '../../shared/base/clock.ts';
import { WardcastError } from '../../shared/base/errors.ts';
import { MAX_REPLY_ROWS } from '../../shared/base/limits.ts';
import type { ChunkStore } from '../../shared/store/chunk-source.ts';
import type { ChunkIndex } from '../deliver/chunk-index.ts';
import type { Offers } from '../deliver/offers.ts';
import type { Repositories } from '../deliver/repositories.ts';
import type { OfflineMetadata } from '../deliver/trust-directory.ts';
import { Change } from '../registry/changes.ts';
import type { Registry } from '../registry/registry.ts';
import type { Reports } from '../reports.ts';
import type { KeyVault } from '../secrecy/vault.ts';
import type { Uploads } from './uploads.ts';

/** What the actions work with. */
export interface Desk {
  readonly registry: Registry;
  readonly chunks: ChunkStore;
  readonly manifests: ChunkStore;
  readonly index: ChunkIndex;
  readonly uploads: Uploads;
  readonly vault: KeyVault;
  readonly repositories: Repositories;
  readonly reports: Reports;
  readonly offers: Pick<Offers, 'connected'>;
  /** Read anew: the vendor may just have delegated a new application. */
  readonly offline: () => Promise<OfflineMetadata>;
  /** Of all certificates under the provider's root. */
  readonly trustDomain: string;
  readonly clock: Clock;
}
export interface Call {
  /** Identity path of the ops certificate. */
  readonly actor: string;
}
/** Checks the parameters and does the work. @throws USAGE, and what the action throws */
export type Handler = (desk: Desk, params: unknown, call: Call) => Promise<unknown>;

/** Ties an entry of OPS_ACTIONS to the function that does it. */
export function action<P extends z.ZodType, R extends z.ZodType>(
  spec: { readonly params: P; readonly result: R },
  run: (desk: Desk, params: z.output<P>, call: Call) => Promise<z.input<R>>,
): Handler {
  return async (desk, params, call) => {
    const parsed = spec.params.safeParse(params);
    if (!parsed.success) {
      const [issue] = parsed.error.issues;
      throw new WardcastError('USAGE', `The parameters are not acceptable: ${issue?.path.join('.') ?? ''}: ${issue?.message ?? ''}`, {
        remedy: 'See docs/asyncapi.json for the form of every request.',
      });
    }
    return run(desk, parsed.data, call);
  };
}

/** Logs a change an operator wants. @throws USAGE when it cannot be written down; CONFLICT, NOT_FOUND, BUSY, STORAGE_FAILED */
export async function record(desk: Desk, call: Call, wanted: z.input<typeof Change>, blobs?: ReadonlyMap<string, Buffer>): Promise<{ sequence: number }> {
  const parsed = Change.safeParse(wanted);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    throw new WardcastError('USAGE', `${issue?.path.join('.') ?? ''}: ${issue?.message ?? 'not acceptable'}`, { remedy: 'Correct it and ask again.' });
  }
  const change = parsed.data;
  const { entry } = await desk.registry.transact(call.actor, () => ({ result: undefined, change, ...(blobs === undefined ? {} : { blobs }) }));
  return { sequence: entry?.sequence ?? 0 };
}

/** All rows, of those that `keep`. @throws LIMIT_EXCEEDED when there are more than one reply takes */
export async function collect<T>(rows: AsyncIterable<T>, keep: (row: T) => boolean = () => true): Promise<T[]> {
  const found: T[] = [];
  for await (const row of rows) {
    if (!keep(row)) continue;
    if (found.length >= MAX_REPLY_ROWS) throw tooMany();
    found.push(row);
  }
  return found;
}

export function tooMany(): WardcastError {
  return new WardcastError('LIMIT_EXCEEDED', `There are more than ${MAX_REPLY_ROWS} rows, which is all that one reply takes`, {
    remedy: 'Narrow it down: by customer, site, group, device or application.',
  });
}
