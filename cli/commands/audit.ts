import { readFile } from 'node:fs/promises';
import { type Command, Option } from 'commander';
import type { FrozenTable } from '../../provider/registry/table.ts';
import { type Call, id, inherit, leaf } from '../command.ts';
import { EXIT } from '../exit-status.ts';

export function declare(parent: Command, description: string): void {
  const group = inherit(parent.command('audit')).description(
    `${description}.\nReads a copy of a provider's data folder, or that of a stopped provider; asks nobody.`,
  );
  leaf(group, 'verify [receipts...]', 'verify chain, tree and every signature; compare with receipts or signed heads that were kept elsewhere', verify)
    .option('--data <dir>', "the provider's data folder (a copy of it)")
    .option('--root <file>', "the vendor's root certificate: root.pem of the PKI")
    .addHelpText('after', '\nExit status 0: everything holds; 5: something does not, and what; 3: a given file proves nothing.');
  leaf(group, 'export', 'who did what to which device when, with which release, on whose order', exportLog)
    .option('--data <dir>', "the provider's data folder (a copy of it)")
    .option('--out <file>', 'where to write; it appears when it is complete')
    .addOption(new Option('--format <format>', 'JSON lines, or comma-separated values').choices(['jsonl', 'csv']).default('jsonl'))
    .option('--customer <customer>', 'only what concerns this customer')
    .option('--site <site>', 'only what concerns this site')
    .option('--device <device>', 'only what concerns this device')
    .option('--application <application>', 'only what concerns this application')
    .option('--since <time>', 'from this time on (RFC 3339)')
    .option('--until <time>', 'before this time (RFC 3339)')
    .addHelpText('after', '\nExit status 5: the log does not verify, and nothing is written.');
}

async function verify(call: Call): Promise<number> {
  const { options, output } = call;
  const [{ audit }, { readWitness }] = await Promise.all([import('../../provider/audit/verify.ts'), import('../../provider/audit/witness.ts')]);
  const rootPem = await readFile(options.needed('root', '--root'), 'utf8');
  const witnesses = await Promise.all(call.rest.map(async (file) => readWitness(file, await readFile(file), rootPem)));
  const audited = await withTable(options.needed('data', '--data'), (table) => output.patiently('verifying the log', audit(table, { rootPem, witnesses })));
  const holds = audited.findings.length === 0;
  output.result({ ...audited, holds }, () => {
    output.line(`${audited.entries} entries, head ${audited.head}`);
    output.line(`tree root ${audited.root}`);
    output.line(`${audited.statements} statements of devices, ${audited.witnesses} heads that somebody saw`);
    for (const { code, message } of audited.findings) output.line(`  ${code}: ${message}`);
    if (audited.truncated) output.line('  and more');
    output.line(holds ? output.colors.green('everything holds') : output.colors.red('the log does not hold'));
  });
  return holds ? EXIT.ok : EXIT.differences;
}

async function exportLog(call: Call): Promise<undefined> {
  const { options, output } = call;
  const [{ auditRows, checkFilter, printExport }, { writeExport }] = await Promise.all([
    import('../../provider/audit/export.ts'),
    import('../../provider/audit/export-file.ts'),
  ]);
  const filter = checkFilter({ ...ids(call, 'customer', 'site', 'device', 'application'), ...texts(call, 'since', 'until') });
  const file = options.needed('out', '--out');
  const format = options.text('format') === 'csv' ? 'csv' : 'jsonl';
  const end = await withTable(options.needed('data', '--data'), (table) => writeExport(file, printExport(auditRows(table, filter), format)));
  output.result({ file, format, rows: end.rows, entries: end.sequence, head: end.hash, root: end.root, sha256: end.sha256 }, () => {
    output.line(`${file}: ${end.rows} rows of a log of ${end.sequence} entries, head ${end.hash}`);
    output.line(`sha256 ${end.sha256}`);
  });
  return undefined;
}

function texts(call: Call, ...names: readonly string[]): Record<string, string> {
  return Object.fromEntries(names.flatMap((name) => ((text) => (text === undefined ? [] : [[name, text]]))(call.options.text(name))));
}

function ids(call: Call, ...names: readonly string[]): Record<string, string> {
  return Object.fromEntries(Object.entries(texts(call, ...names)).map(([name, text]) => [name, id(text, name)]));
}

async function withTable<T>(data: string, work: (table: FrozenTable) => Promise<T>): Promise<T> {
  const [{ openLevelTable }, { registryDirectory }] = await Promise.all([
    import('../../provider/registry/level-table.ts'),
    import('../../provider/registry/level-registry.ts'),
  ]);
  const table = await openLevelTable(registryDirectory(data), { mustExist: true });
  const frozen = table.frozen();
  try {
    return await work(frozen);
  } finally {
    await frozen.release();
    await table.close();
  }
}
