import type { Command } from 'commander';
import { inherit, leaf, usage } from '../command.ts';
import { withConnection, withOps } from '../connection.ts';
import { EXIT } from '../exit-status.ts';

export function declare(parent: Command, description: string): void {
  const group = inherit(parent.command('registry')).description(description);
  withConnection(
    leaf(group, 'rebuild', 'replay the log into an empty registry and compare', async (call) => {
      if (!call.options.flag('check'))
        throw usage('--check is missing', 'The registry is rebuilt in memory and compared; nothing is overwritten. Run `wardcast registry rebuild --check`.');
      const data = call.options.text('data');
      const found = data === undefined ? await withOps(call, (ops) => ops.call('registry.check', {})) : await checkOffline(data);
      const same = found.differences.length === 0;
      call.output.result({ ...found, same }, () => {
        call.output.line(`${found.entries} entries replayed, head ${found.head}`);
        for (const difference of found.differences) call.output.line(`  differs: ${difference}`);
        call.output.line(
          same ? call.output.colors.green(`${found.rows} rows, all as the log says`) : call.output.colors.red('the registry differs from its log'),
        );
      });
      return same ? EXIT.ok : EXIT.differences;
    })
      .option('--check', 'compare and report; nothing is changed')
      .option('--data <dir>', 'without a running provider: its data folder, read here'),
  );
}

async function checkOffline(data: string): Promise<{ entries: number; head: string; rows: number; differences: readonly string[] }> {
  const { checkRegistry } = await import('../../provider/registry/level-registry.ts');
  return checkRegistry(data);
}
