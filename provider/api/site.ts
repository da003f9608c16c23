import { OPS_ACTIONS } from '../../shared/wire/ops.ts';
import { prefixes } from '../registry/rows.ts';
import { action, collect, record } from './action.ts';

export const siteAdd = action(OPS_ACTIONS['site.add'], (desk, params, call) => record(desk, call, { type: 'site-added', ...params }));
export const siteList = action(OPS_ACTIONS['site.list'], (desk, { customer }) => collect(desk.registry.list(prefixes.sites(customer))));
