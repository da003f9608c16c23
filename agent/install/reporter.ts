import type { Confirmation } from '../../shared/wire/messages.ts';

/** What happened, without what the reporter adds: who says it, when and with which counter. */
export type Outcome = Pick<Confirmation, 'application' | 'version' | 'manifest' | 'sequence' | 'result' | 'reason' | 'running' | 'sources'>;

/** The way of an outcome to the provider, in two steps so that a kill between them neither loses nor doubles it. */
export interface Reporter {
  /** Reserves a counter and fixes every byte of what will be said. */
  compose(outcome: Outcome): Promise<Confirmation>;
  /** Returns when it stands in the durable outbox. Saying the same confirmation again changes nothing. */
  report(confirmation: Confirmation): Promise<void>;
}
