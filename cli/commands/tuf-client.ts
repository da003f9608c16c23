import { readFile } from 'node:fs/promises';
import type { Command } from 'commander';
import { systemCode, toWardcastError, WardcastError } from '../../shared/base/errors.ts';
import { argument, type Call, leaf, usage } from '../command.ts';
import { EXIT } from '../exit-status.ts';

export function declare(parent: Command, description: string): void {
  leaf(
    parent,
    'tuf-client <action> [file]',
    `${description}.\nThe client protocol of tuf-conformance over the very code that agents and gateways verify with.\nActions: init ROOT_FILE, refresh, download. Exit status 0: done, 1: refused.`,
    (call) => protocol(call),
  )
    .requiredOption('--metadata-dir <dir>', 'where trusted metadata is kept')
    .option('--metadata-url <url>', 'where the repository has its metadata')
    .option('--target-name <path>', 'a target to download; may be repeated', (path: string, before: string[]) => [...before, path], [])
    .option('--target-base-url <url>', 'where the repository has its targets')
    .option('--target-dir <dir>', 'where downloaded targets go');
}

/** The protocol knows two exit statuses only. */
async function protocol(call: Call): Promise<number> {
  try {
    const action = ACTIONS.get(argument(call, 0, 'the action'));
    if (action === undefined) throw usage(`${JSON.stringify(call.args[0])} is no action`, 'Use init, refresh or download.');
    await action(call);
    return EXIT.ok;
  } catch (thrown) {
    call.output.error(toWardcastError(thrown));
    return EXIT.failed;
  }
}

const ACTIONS: ReadonlyMap<string, (call: Call) => Promise<void>> = new Map([
  ['init', init],
  ['refresh', (call) => update(call, [])],
  ['download', download],
]);

async function init(call: Call): Promise<void> {
  const { initRepository } = await import('../../shared/trust/repository-client.ts');
  const file = argument(call, 1, 'the root metadata');
  const root = await readFile(file).catch((error: unknown) => {
    throw new WardcastError('USAGE', `${file} cannot be read: ${systemCode(error) ?? String(error)}`);
  });
  await initRepository(call.options.needed('metadataDir', '--metadata-dir'), root);
}

function download(call: Call): Promise<void> {
  const names = call.options.texts('targetName');
  if (names.length === 0) throw usage('--target-name is missing');
  return update(call, names);
}

async function update(call: Call, names: readonly string[]): Promise<void> {
  const [{ refreshRepository }, { fetchMetadata }, { downloadTarget }, { silentLog }] = await Promise.all([
    import('../../shared/trust/repository-client.ts'),
    import('../tuf/http-repository.ts'),
    import('../tuf/download-target.ts'),
    import('../../shared/base/log.ts'),
  ]);
  const { options, signal } = call;
  const url = options.needed('metadataUrl', '--metadata-url');
  const targets =
    names.length === 0 ? undefined : { baseUrl: options.needed('targetBaseUrl', '--target-base-url'), directory: options.needed('targetDir', '--target-dir') };
  await refreshRepository({
    directory: options.needed('metadataDir', '--metadata-dir'),
    source: { metadata: (name, fetchOptions) => fetchMetadata(url, name, fetchOptions) },
    log: silentLog,
    signal,
    obtain: async (find, { consistentSnapshot }) => {
      for (const name of targets === undefined ? [] : names) {
        const target = await find(name);
        if (target === undefined || targets === undefined) throw new WardcastError('NOT_FOUND', `No role lists the target ${name}`);
        const { file, fetched } = await downloadTarget(target, { ...targets, consistent: consistentSnapshot, signal });
        call.output.note(fetched ? `${name} downloaded to ${file}` : `${name} is in ${file} already`);
      }
    },
  });
}
