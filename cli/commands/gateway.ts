import type { Command } from 'commander';
import { declareDaemon } from '../daemon.ts';
import { declareGatewayRevoke } from '../revocation-commands.ts';

export function declare(parent: Command, description: string): void {
  declareGatewayRevoke(declareDaemon(parent, 'gateway', description));
}
