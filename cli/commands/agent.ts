import type { Command } from 'commander';
import { leaf } from '../command.ts';
import { declareDaemon } from '../daemon.ts';

export function declare(parent: Command, description: string): void {
  const agent = declareDaemon(parent, 'agent', description);
  leaf(agent, 'enrol', "get this device's first certificate with a code, or with the claim it was shipped with", async (call) => {
    const { enrolDevice } = await import('../agent-enrol.ts');
    return enrolDevice(call);
  })
    .requiredOption('--config <file>', "the agent's TOML file")
    .option('--device <id>', 'the id it wants; by default that of [enrol]')
    .option('--token-file <file>', 'file with the code; - for standard input; by default that of [enrol], or it is asked for');
  leaf(agent, 'request', 'make a key, and write what `wardcast pki sign-request` needs to certify it: for sites without any line', async (call) => {
    const { requestOffline } = await import('../agent-enrol.ts');
    return requestOffline(call);
  })
    .requiredOption('--config <file>', "the agent's TOML file")
    .requiredOption('--out <file>', 'the request to carry to the offline machine; it holds no secret');
  leaf(agent, 'accept-credentials <chain>', 'put the certificate in place that `wardcast pki sign-request` made', async (call) => {
    const { acceptOffline } = await import('../agent-enrol.ts');
    return acceptOffline(call);
  }).requiredOption('--config <file>', "the agent's TOML file");
}
