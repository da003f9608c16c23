import type { Command } from 'commander';
import { inherit } from '../command.ts';
import { declareOpsRevoke } from '../revocation-commands.ts';

export function declare(parent: Command, description: string): void {
  declareOpsRevoke(inherit(parent.command('ops')).description(description));
}
