import type { Command } from 'commander';
import { inherit, leaf, usage } from '../command.ts';
import { withConnection, withOps } from '../connection.ts';
import { EXIT } from '../exit-status.ts';

const ROWS_DIFFER =
  'The log verifies, the rows do not follow from it: they were altered or damaged, or written by an older version, which did not keep some of them yet (epochs of group keys, for one). Stop the provider and run `wardcast registry rebuild --data <dir>`: it writes them anew from the log.';
const LOG_DIFFERS =
  'The log itself does not verify, so nothing can be rebuilt from it: stop the provider, keep the data folder for examination, and restore the last good backup. Devices then state anew what they run.';

export function declare(parent: Command, description: string): void {
  const group = inherit(parent.command('registry')).description(description);
  withConnection(
    leaf(group, 'rebuild', 'replay the log, and compare the registry with it or write it anew', async (call) => {
      const data = call.options.text('data');
      if (!call.options.flag('check')) {
        if (data === undefined) {
          throw usage(
            '--check or --data is missing',
            'With `--check` the registry is compared with its log, and nothing is changed. To have its rows written anew from the log, stop the provider and name its data folder: `wardcast registry rebuild --data <dir>`.',
          );
        }
        const rebuilt = await rebuildOffline(data);
        call.output.result(rebuilt, () =>
          call.output.line(
            `${rebuilt.entries} entries replayed, head ${rebuilt.head}: ${rebuilt.rows} rows, ${rebuilt.mended} of them and of the tiles written anew`,
          ),
        );
        return EXIT.ok;
      }
      const found = data === undefined ? await withOps(call, (ops) => ops.call('registry.check', {})) : await checkOffline(data);
      const same = found.differences.length === 0;
      call.output.result({ ...found, same }, () => {
        call.output.line(`${found.entries} entries replayed, head ${found.head}`);
        for (const difference of found.differences) call.output.line(`  differs: ${difference}`);
        if (!same) call.output.line(found.intact ? ROWS_DIFFER : LOG_DIFFERS);
        call.output.line(
          same ? call.output.colors.green(`${found.rows} rows, all as the log says`) : call.output.colors.red('the registry differs from its log'),
        );
      });
      return same ? EXIT.ok : EXIT.differences;
    })
      .option('--check', 'compare and report; nothing is changed')
      .option('--data <dir>', 'without a running provider: its data folder; without --check its rows are written anew from the log, if that verifies'),
  );
}

async function checkOffline(data: string): Promise<{ entries: number; head: string; rows: number; differences: readonly string[]; intact: boolean }> {
  const { checkRegistry } = await import('../../provider/registry/level-registry.ts');
  return checkRegistry(data);
}

async function rebuildOffline(data: string): Promise<{ entries: number; head: string; rows: number; mended: number }> {
  const { rebuildRegistry } = await import('../../provider/registry/level-registry.ts');
  return rebuildRegistry(data);
}
