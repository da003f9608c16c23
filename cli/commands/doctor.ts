import type { Command } from 'commander';
import { leaf } from '../command.ts';
import { withConnection } from '../connection.ts';
import { EXIT } from '../exit-status.ts';

export function declare(parent: Command, description: string): void {
  withConnection(
    leaf(
      parent,
      'doctor [config]',
      `${description}. CONFIG is a provider.toml, gateway.toml or agent.toml; without it the ops connection is examined.`,
      async (call) => {
        const { examine } = await import('../doctor/examine.ts');
        const { output } = call;
        const findings = await output.patiently('Examining', examine(call.args[0], call.options, call.signal));
        const worst = findings.some((finding) => finding.state === 'fail') ? 'fail' : findings.some((finding) => finding.state === 'warn') ? 'warn' : 'ok';
        const paint = { ok: output.colors.green, warn: output.colors.yellow, fail: output.colors.red };
        output.result({ worst, findings }, () => {
          for (const { state, what, message, remedy } of findings) {
            output.line(`${paint[state](state.padEnd(4))}  ${what.padEnd(12)}  ${message}`);
            if (remedy !== undefined && state !== 'ok') output.line(output.colors.dim(`                    ${remedy}`));
          }
        });
        return worst === 'fail' ? EXIT.differences : EXIT.ok;
      },
    ),
  );
}
