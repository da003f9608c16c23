import { OPS_ACTIONS } from '../../shared/wire/ops.ts';
import { prefixes } from '../registry/rows.ts';
import { action, collect, record } from './action.ts';

export const customerAdd = action(OPS_ACTIONS['customer.add'], (desk, params, call) => record(desk, call, { type: 'customer-added', ...params }));
export const customerList = action(OPS_ACTIONS['customer.list'], (desk) => collect(desk.registry.list(prefixes.customers())));
