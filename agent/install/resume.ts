import { MAX_FAILED_STARTS } from '../../shared/base/limits.ts';
import type { JournalEntry } from './entry.ts';

/** What to do about an installation that the journal shows. */
export type Step =
  /** Nothing of the running release was touched: go on when the bundle still asks for it. */
  | 'wait'
  /** Start (again): swap if it has not happened, then check. Counts as one start. */
  | 'start'
  | 'commit'
  /** Too many starts without a commit: roll back and mark the release bad. */
  | 'give-up'
  | 'roll-back'
  /** The outcome is fixed: bring its confirmation to the outbox and forget the entry. */
  | 'conclude';

/**
 * Where an installation goes on that was cut short at any instant. Pure.
 * A start that is found unfinished has failed: the device, or the agent with it, went down before the release proved itself.
 */
export function nextStep(entry: Pick<JournalEntry, 'state' | 'starts'>): Step {
  switch (entry.state) {
    case 'staging':
    case 'staged':
      return 'wait';
    case 'activating':
    case 'activated':
      return entry.starts >= MAX_FAILED_STARTS ? 'give-up' : 'start';
    case 'checked':
      return 'commit';
    case 'rolling-back':
      return 'roll-back';
    case 'committed':
    case 'rolled-back':
      return 'conclude';
  }
}
