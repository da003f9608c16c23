import type { Command } from 'commander';
import { leaf } from '../command.ts';
import { EXIT } from '../exit-status.ts';

export function declare(parent: Command, description: string): void {
  leaf(
    parent,
    'demo',
    `${description}.\nEverything happens in a temporary folder and on the loopback interface, and is gone afterwards.`,
    async ({ output, options, signal }) => {
      const [{ play }, { Narrator }, { shortcomings }] = await Promise.all([
        import('../demo/play.ts'),
        import('../demo/narrator.ts'),
        import('../demo/report.ts'),
      ]);
      const report = await play({ narrator: new Narrator(output), signal, keep: options.flag('keep') });
      output.result(report, () => undefined);
      return shortcomings(report).length === 0 ? EXIT.ok : EXIT.failed;
    },
  ).option('--keep', 'keep the folder with all logs and databases');
}
