import { OPS_ACTIONS } from '../../shared/wire/ops.ts';
import { prefixes } from '../registry/rows.ts';
import { action, collect, record } from './action.ts';

export const groupAdd = action(OPS_ACTIONS['group.add'], (desk, params, call) => record(desk, call, { type: 'group-added', ...params }));
export const groupList = action(OPS_ACTIONS['group.list'], (desk, { customer }) => collect(desk.registry.list(prefixes.groups(customer))));
export const groupRotateKey = action(OPS_ACTIONS['group.rotate-key'], (desk, params, call) => record(desk, call, { type: 'group-key-rotated', ...params }));
