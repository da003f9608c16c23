import type { Command } from 'commander';
import { id, type Options } from './command.ts';

/** The options that narrow a list to a customer, site, group or device. */
export interface ScopeFilter {
  readonly customer?: string;
  readonly site?: string;
  readonly group?: string;
  readonly device?: string;
}

export function withScope(command: Command): Command {
  return command
    .option('--customer <customer>', 'only of this customer')
    .option('--site <site>', 'only at this site')
    .option('--group <group>', 'only of this group');
}

/** @throws USAGE when one is no id */
export function scopeFilter(options: Options): ScopeFilter {
  const pick = (name: 'customer' | 'site' | 'group' | 'device'): Partial<Record<typeof name, string>> => {
    const value = options.text(name);
    return value === undefined ? {} : { [name]: id(value, name) };
  };
  return { ...pick('customer'), ...pick('site'), ...pick('group'), ...pick('device') };
}
