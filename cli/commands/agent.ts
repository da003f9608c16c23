import type { Command } from 'commander';
import { declareDaemon } from '../daemon.ts';

export function declare(parent: Command, description: string): void {
  declareDaemon(parent, 'agent', description);
}
