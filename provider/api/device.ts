import { OPS_ACTIONS } from '../../shared/wire/ops.ts';
import { prefixes } from '../registry/rows.ts';
import { action, collect, record } from './action.ts';

export const deviceAdd = action(OPS_ACTIONS['device.add'], (desk, params, call) => record(desk, call, { type: 'device-added', ...params }));
export const deviceRemove = action(OPS_ACTIONS['device.remove'], (desk, params, call) => record(desk, call, { type: 'device-removed', ...params }));
export const deviceList = action(OPS_ACTIONS['device.list'], (desk, { customer, site, group }) =>
  collect(desk.registry.list(prefixes.devices(customer)), (row) => (site === undefined || row.site === site) && (group === undefined || row.group === group)),
);

/** What gateways saw on their LANs: proven by certificate, or not enrolled yet. */
export const deviceSeen = action(OPS_ACTIONS['device.seen'], (desk, { customer, site }) => collect(desk.reports.devices(customer, site)));
