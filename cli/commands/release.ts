import type { Command } from 'commander';
import { systemCode } from '../../shared/base/errors.ts';
import type { Hooks } from '../../shared/bundle/manifest.ts';
import type { SecretSource } from '../../shared/trust/secret-source.ts';
import { argument, type Call, id, inherit, leaf, releaseName, usage } from '../command.ts';
import { withConnection, withOps } from '../connection.ts';
import { withSecrets } from '../keys/key-commands.ts';
import { secretsOf } from '../keys/secrets.ts';
import { bytesText, percent } from '../units.ts';

export function declare(parent: Command, description: string): void {
  const group = inherit(parent.command('release')).description(description);

  withSecrets(leaf(group, 'sign <folder> <application@version>', 'chunk a folder and sign its manifest; offline, with the release key', sign))
    .option('--keys <dir>', 'the folder made by `keys create`; only the release key of this application is used')
    .option('--key <key>', 'instead: the release key itself, a file or a token as pkcs11: URI')
    .option('--workspace <dir>', 'where signed releases are kept', 'workspace')
    .option('--pre-activate <path>', 'an executable of the release to run before it is activated')
    .option('--post-activate <path>', 'an executable of the release to run after it was activated')
    .option('--check <path>', 'an executable of the release that says whether it is healthy')
    .option('--rollback <path>', 'an executable of the release to run when it is rolled back')
    .option('--encrypt', 'nobody but devices of groups that get the release can read it')
    .option('--minimum-agent <version>', 'the oldest agent that may install it')
    .option('--sbom <path>', 'a file of the release that lists what it is made of');

  withConnection(
    leaf(group, 'publish <application@version>', 'upload a signed release to the provider', publish).option(
      '--workspace <dir>',
      'where it was signed',
      'workspace',
    ),
  );

  withConnection(leaf(group, 'list [application]', 'published releases', list));

  withConnection(
    withSecrets(leaf(group, 'withdraw <application@version>', 'it must not be installed any more; where it runs it keeps running', withdraw))
      .requiredOption('--reason <text>', 'why, for the record')
      .option('--keys <dir>', 'with the release key at hand: sign the application anew without it, too')
      .option('--workspace <dir>', 'where it was signed', 'workspace'),
  );
}

async function sign(call: Call): Promise<undefined> {
  const { signRelease } = await import('../../provider/publish/sign-release.ts');
  const directory = argument(call, 0, 'the folder');
  const release = releaseName(argument(call, 1, 'the release'));
  const workspace = call.options.needed('workspace', '--workspace');
  const minimumAgent = call.options.text('minimumAgent');
  const tell = tenths(call, (share) => `read ${share} %`);
  const work = signRelease({
    directory,
    ...release,
    workspace,
    keyFile: call.options.text('key') ?? (await releaseKeyFile(call.options.needed('keys', '--keys or --key'), release.application)),
    secrets: secretsOf(call.options),
    hooks: hooks(call),
    sbom: await sbom(call, directory),
    minimumAgent,
    encrypt: call.options.flag('encrypt'),
    signal: call.signal,
    onProgress: tell,
  });
  const summary = await call.output.patiently(`Reading ${directory}`, work);
  call.output.result(summary, () => {
    call.output.line(`${release.application} ${release.version} signed: ${summary.files} files, ${bytesText(summary.bytes)}, ${summary.chunks} chunks`);
    call.output.line(`of these ${bytesText(summary.newBytes)} in ${summary.newChunks} chunks are new in ${workspace}`);
    call.output.line(`manifest ${summary.manifest}`);
    call.output.line(`publish it with: wardcast release publish ${release.application}@${release.version} --workspace ${workspace}`);
  });
}

function hooks(call: Call): Hooks {
  const hook = (name: keyof Hooks): Hooks => {
    const path = call.options.text(name);
    return path === undefined ? {} : { [name]: { path } };
  };
  return { ...hook('preActivate'), ...hook('postActivate'), ...hook('check'), ...hook('rollback') };
}

async function sbom(call: Call, directory: string): Promise<{ path: string; sha256: string } | undefined> {
  const path = call.options.text('sbom');
  if (path === undefined) return undefined;
  const [{ readFile }, { join }, { sha256 }] = await Promise.all([import('node:fs/promises'), import('node:path'), import('../../shared/bundle/digest.ts')]);
  try {
    return { path, sha256: sha256(await readFile(join(directory, path))) };
  } catch (error) {
    throw usage(`--sbom: ${path} cannot be read in ${directory}: ${systemCode(error) ?? String(error)}`, 'Name a file of the release, relative to its folder.');
  }
}

async function releaseKeyFile(keys: string, application: string): Promise<string> {
  const [{ ceremonyLayout }, { releaseRole }, { findKey }] = await Promise.all([
    import('../../provider/publish/ceremony.ts'),
    import('../../shared/trust/roles.ts'),
    import('../../shared/trust/open-signer.ts'),
  ]);
  return findKey(ceremonyLayout(keys).offline, releaseRole(application));
}

/** Milliseconds between two words about the same work: what is quick needs none. */
const QUIET = 1000;

/** Says something at every tenth of slow work, on standard error. */
function tenths(call: Call, text: (share: number) => string): (done: number, total: number) => void {
  let told = 0;
  let at = performance.now();
  return (done, total) => {
    const tenth = Math.floor(percent(done, total) / 10);
    if (tenth <= told || performance.now() - at < QUIET) return;
    told = tenth;
    at = performance.now();
    call.output.note(call.output.colors.dim(text(tenth * 10)));
  };
}

async function publish(call: Call): Promise<undefined> {
  const [{ readSignedRelease }, { publisher, publishRelease }] = await Promise.all([import('../workspace.ts'), import('../publish.ts')]);
  const { application, version } = releaseName(argument(call, 0, 'the release'));
  const signed = await readSignedRelease(call.options.needed('workspace', '--workspace'), application, version);
  const onProgress = tenths(call, (share) => `uploaded ${share} %`);
  const release = await withOps(call, (ops) => publishRelease(publisher(ops), signed, { signal: call.signal, onProgress }));
  call.output.result(release, () => call.output.line(`${application} ${version} published: ${bytesText(release.size)} in ${release.files} files`));
}

async function list(call: Call): Promise<undefined> {
  const application = call.args[0];
  const rows = await withOps(call, (ops) => ops.call('release.list', application === undefined ? {} : { application: id(application, 'application') }));
  call.output.result(rows, () =>
    call.output.table(
      rows,
      [
        { title: 'APPLICATION', value: (row) => row.application },
        { title: 'VERSION', value: (row) => row.version },
        { title: 'SIZE', value: (row) => bytesText(row.size), align: 'right' },
        { title: 'FILES', value: (row) => row.files, align: 'right' },
        { title: 'CHUNKS', value: (row) => row.chunks, align: 'right' },
        { title: 'ENCRYPTED', value: (row) => (row.encrypted === true ? 'yes' : undefined) },
        { title: 'PUBLISHED', value: (row) => row.publishedAt },
        { title: 'MANIFEST', value: (row) => row.manifest.slice(0, 12) },
        { title: 'WITHDRAWN', value: (row) => row.withdrawn?.reason },
      ],
      'no releases yet',
    ),
  );
}

async function withdraw(call: Call): Promise<undefined> {
  const { application, version } = releaseName(argument(call, 0, 'the release'));
  const reason = call.options.needed('reason', '--reason');
  const keys = call.options.text('keys');
  const workspace = call.options.needed('workspace', '--workspace');
  const role = keys === undefined ? undefined : await signedWithout({ application, version, keys, workspace, secrets: secretsOf(call.options) });
  const done = await withOps(call, (ops) =>
    ops.call('release.withdraw', { application, version, reason, ...(role === undefined ? {} : { role: role.toString('base64') }) }),
  );
  call.output.result({ application, version, reason, ...done }, () => call.output.line(`${application} ${version} withdrawn: no device installs it any more`));
}

async function signedWithout(release: { application: string; version: string; keys: string; workspace: string; secrets: SecretSource }): Promise<Buffer> {
  const { withdrawInRole } = await import('../../provider/publish/release-role.ts');
  return (await withdrawInRole({ ...release, keyFile: await releaseKeyFile(release.keys, release.application) })).bytes;
}
