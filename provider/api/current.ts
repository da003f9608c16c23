import { OPS_ACTIONS } from '../../shared/wire/ops.ts';
import type { Registry } from '../registry/registry.ts';
import { type Current, prefixes } from '../registry/rows.ts';
import { action, collect, record } from './action.ts';

export const currentSet = action(OPS_ACTIONS['current.set'], (desk, params, call) => record(desk, call, { type: 'current-set', ...params }));
export const currentList = action(OPS_ACTIONS['current.list'], (desk, { customer, group }) =>
  collect(currents(desk.registry, customer), (row) => group === undefined || row.group === group),
);

async function* currents(registry: Registry, customer: string | undefined): AsyncGenerator<Current> {
  for await (const rows of registry.list(prefixes.currents(customer))) yield* rows;
}
