import type { Clock } from '../../shared/base/clock.ts';
import { toWardcastError } from '../../shared/base/errors.ts';
import type { Scope } from '../../shared/base/identity.ts';
import { RENEWAL_RETRY, TIMESTAMP_RENEW_BEFORE } from '../../shared/base/limits.ts';
import type { Log } from '../../shared/base/log.ts';
import type { Assigner } from './assigner.ts';
import type { Repositories } from './repositories.ts';

export interface RenewalParts {
  readonly repositories: Repositories;
  readonly assigner: Pick<Assigner, 'renew' | 'holdsCeremony'>;
  readonly offer: (scope: Scope) => Promise<void>;
  /** Nothing is signed for a customer that left. */
  readonly retired: (customer: string) => Promise<boolean>;
  /** Runs work on groups one after the other, so that a renewal never crosses an assignment. */
  readonly serially: <T>(work: () => Promise<T>) => Promise<T>;
  readonly clock: Clock;
  readonly log: Log;
  readonly signal: AbortSignal;
}

/** Keeps signed metadata fresh: sleeps until the first role of any group has TIMESTAMP_RENEW_BEFORE left, and signs it anew; after a ceremony all. */
export async function keepRenewing(parts: RenewalParts): Promise<void> {
  const { repositories, assigner, offer, retired, serially, clock, log, signal } = parts;
  while (!signal.aborted) {
    let next = clock.now() + RENEWAL_RETRY;
    for await (const repository of repositories.list()) {
      if (await retired(repository.customer)) continue;
      const due = Math.min(repository.expires.assignment, repository.expires.snapshot, repository.expires.timestamp) - TIMESTAMP_RENEW_BEFORE;
      if (due > clock.now() && assigner.holdsCeremony(repository)) {
        next = Math.min(next, due);
        continue;
      }
      try {
        const renewed = await serially(async () => {
          const newest = await repositories.get(repository);
          return newest !== undefined && (await assigner.renew(newest));
        });
        if (renewed) await offer(repository);
      } catch (error) {
        log.error('metadata.renewal-failed', { customer: repository.customer, site: repository.site, group: repository.group, error: toWardcastError(error) });
      }
    }
    try {
      await clock.sleep(Math.max(1, next - clock.now()), { signal });
    } catch {
      return;
    }
  }
}
