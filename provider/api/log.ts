import { MAX_PAYLOAD } from '../../shared/base/limits.ts';
import { OPS_ACTIONS } from '../../shared/wire/ops.ts';
import { logRow } from '../events.ts';
import { action } from './action.ts';

/** Entries from a sequence on; fewer than asked for when they would not fit one message. */
export const logList = action(OPS_ACTIONS['log.list'], async (desk, { from, limit }) => {
  const rows: ReturnType<typeof logRow>[] = [];
  let bytes = 0;
  for await (const entry of desk.registry.entries(from)) {
    const row = logRow(entry);
    bytes += JSON.stringify(row).length;
    if (rows.length >= limit || bytes > MAX_PAYLOAD / 2) break;
    rows.push(row);
  }
  return rows;
});

export const registryCheck = action(OPS_ACTIONS['registry.check'], async (desk) => {
  const { entries, head, rows, differences, intact } = await desk.registry.check();
  return { entries, head, rows, differences: [...differences], intact };
});
