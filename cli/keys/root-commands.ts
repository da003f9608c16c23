import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Command } from 'commander';
import { systemCode, WardcastError } from '../../shared/base/errors.ts';
import { ROOT_LIFETIME_DAYS } from '../../shared/base/limits.ts';
import { writeDurably } from '../../shared/store/durable-file.ts';
import type { VerificationKey } from '../../shared/trust/keys.ts';
import type { Count, TopRole } from '../../shared/trust/root-draft.ts';
import { argument, type Call, leaf, usage } from '../command.ts';
import { EXIT } from '../exit-status.ts';
import { withSecrets } from './key-commands.ts';
import { readPublicKey } from './public-file.ts';
import { secretsOf } from './secrets.ts';

const several = (value: string, before: string[]): string[] => [...before, value];

/** The ceremonies of the root: drafted, carried from signer to signer, finished when both thresholds are reached. */
export function declareRootCommands(keys: Command): void {
  leaf(keys, 'status <root>', 'what a root or a draft trusts, and how many have signed it', status).option(
    '--previous <root>',
    'the root before it, whose keys must have signed it, too',
  );
  leaf(keys, 'threshold <root>', 'exit status 0 when a root carries all signatures it needs, 5 when not', threshold).option(
    '--previous <root>',
    'the root before it, whose keys must have signed it, too',
  );
  drafting(leaf(keys, 'rotate <root>', 'drafts the next root: keys added and removed, thresholds changed', (call) => draft(call, [])))
    .option('--add <role=key>', 'a new key (.pub, key file, token) for root, targets, snapshot or timestamp; may be repeated', several, [])
    .option('--remove <role=keyid>', 'a key that the role trusts no more; may be repeated', several, [])
    .option('--threshold <role=number>', 'how many must sign for the role; may be repeated', several, []);
  drafting(
    leaf(keys, 'revoke <root> <keyid>', 'drafts the next root without a key, in whatever role it is', (call) =>
      draft(call, [{ keyId: argument(call, 1, 'the key id') }]),
    ),
  ).option('--add <role=key>', 'its replacement; may be repeated', several, []);
  withSecrets(leaf(keys, 'sign-root <draft>', 'adds one signature to a draft', signRoot))
    .requiredOption('--previous <root>', 'the root before it')
    .requiredOption('--key <key>', 'a key file, or a token as pkcs11: URI');
  leaf(keys, 'finish <draft>', 'makes N.root.json of a draft that has all its signatures', finish)
    .requiredOption('--previous <root>', 'the root before it')
    .option('--out <dir>', 'where roots are kept', 'keys/metadata');
}

function drafting(command: Command): Command {
  return command.requiredOption('--out <file>', 'the draft to write').option('--days <number>', 'until it expires');
}

async function read(file: string): Promise<Buffer> {
  return readFile(file).catch((error: unknown) => {
    throw usage(`${file} cannot be read: ${systemCode(error) ?? String(error)}`);
  });
}

function pair(text: string, flag: string): readonly [TopRole, string] {
  const [role, value = ''] = text.split(/=(.*)/s);
  if ((role !== 'root' && role !== 'targets' && role !== 'snapshot' && role !== 'timestamp') || value === '') {
    throw usage(`${flag} ${JSON.stringify(text)} is not understood`, `Write ${flag} ROLE=VALUE; roles are root, targets, snapshot and timestamp.`);
  }
  return [role, value];
}

async function draft(call: Call, removals: readonly { keyId: string }[]): Promise<undefined> {
  const { draftRoot } = await import('../../shared/trust/root-draft.ts');
  const add: { role: TopRole; key: VerificationKey }[] = [];
  for (const text of call.options.texts('add')) {
    const [role, reference] = pair(text, '--add');
    add.push({ role, key: await readPublicKey(reference) });
  }
  const remove = call.options.texts('remove').map((text) => {
    const [role, keyId] = pair(text, '--remove');
    return { role, keyId };
  });
  const thresholds = Object.fromEntries(
    call.options.texts('threshold').map((text) => {
      const [role, value] = pair(text, '--threshold');
      if (!/^[1-9][0-9]{0,2}$/.test(value)) throw usage('--threshold takes ROLE=NUMBER');
      return [role, Number(value)];
    }),
  );
  const days = call.options.number('days', '--days') ?? ROOT_LIFETIME_DAYS;
  const out = call.options.needed('out', '--out');
  const previous = await read(argument(call, 0, 'the root'));
  const bytes = draftRoot(previous, { add, remove: [...remove, ...removals], thresholds, expires: new Date(Date.now() + days * 86_400_000) });
  await writeDurably(out, bytes);
  await report(call, bytes, previous, { draft: out });
  return undefined;
}

async function signRoot(call: Call): Promise<undefined> {
  const [{ signDraft }, { openSigner }] = await Promise.all([import('../../shared/trust/root-draft.ts'), import('../../shared/trust/open-signer.ts')]);
  const file = argument(call, 0, 'the draft');
  const previous = await read(call.options.needed('previous', '--previous'));
  const signer = await openSigner(call.options.needed('key', '--key'), secretsOf(call.options));
  const bytes = signDraft(await read(file), previous, signer);
  await writeDurably(file, bytes);
  await report(call, bytes, previous, { draft: file, signedBy: signer.keyId });
  return undefined;
}

async function finish(call: Call): Promise<undefined> {
  const { checkSuccession } = await import('../../shared/trust/root-draft.ts');
  const bytes = await read(argument(call, 0, 'the draft'));
  const { version } = checkSuccession(await read(call.options.needed('previous', '--previous')), bytes);
  const file = join(call.options.needed('out', '--out'), `${version}.root.json`);
  const present = await readFile(file).catch(() => undefined);
  if (present !== undefined && !present.equals(bytes)) {
    throw new WardcastError('CONFLICT', `${file} exists already, with other content`, {
      remedy: 'A version of the root is made once: draft anew from the newest.',
    });
  }
  await writeDurably(file, bytes);
  call.output.result({ file, version }, () => call.output.line(`root ${version} is ready: copy ${file} to the provider's trust folder`));
  return undefined;
}

async function counts(bytes: Buffer, previous: Buffer | undefined): Promise<{ own: Count; previous: Count | undefined; reached: boolean }> {
  const { countSignatures } = await import('../../shared/trust/root-draft.ts');
  const own = countSignatures(bytes, bytes);
  const before = previous === undefined ? undefined : countSignatures(bytes, previous);
  return { own, previous: before, reached: own.reached && before?.reached !== false };
}

async function previousOf(call: Call): Promise<Buffer | undefined> {
  const file = call.options.text('previous');
  return file === undefined ? undefined : read(file);
}

async function status(call: Call): Promise<undefined> {
  await report(call, await read(argument(call, 0, 'the root')), await previousOf(call), {});
  return undefined;
}

async function threshold(call: Call): Promise<number> {
  const result = await counts(await read(argument(call, 0, 'the root')), await previousOf(call));
  call.output.result(result, () => line(call, result));
  return result.reached ? EXIT.ok : EXIT.differences;
}

async function report(call: Call, bytes: Buffer, previous: Buffer | undefined, more: Readonly<Record<string, string>>): Promise<void> {
  const { parseRoot } = await import('../../shared/trust/inspect.ts');
  const { signed } = parseRoot(bytes);
  const roles = Object.entries(signed.roles).map(([role, { keyIDs, threshold: needed }]) => ({ role, threshold: needed, keys: keyIDs }));
  const result = { ...more, version: signed.version, expires: signed.expires, roles, ...(await counts(bytes, previous)) };
  call.output.result(result, () => {
    call.output.line(`root ${result.version}, expires ${result.expires}`);
    for (const role of roles)
      call.output.line(`${role.role}: ${role.threshold} of ${role.keys.length} (${role.keys.map((key) => key.slice(0, 12)).join(', ')})`);
    line(call, result);
  });
}

function line(call: Call, result: { own: Count; previous: Count | undefined; reached: boolean }): void {
  const say = (which: string, count: Count): void => {
    const rest = count.missing.map((key) => key.slice(0, 12)).join(', ');
    call.output.line(`${which}: ${count.signed.length} of ${count.threshold} signatures needed${count.reached ? '' : `; not signed yet: ${rest}`}`);
  };
  if (result.previous !== undefined) say('keys of the root before', result.previous);
  say('keys of this root', result.own);
  call.output.line(result.reached ? 'all signatures are there' : 'signatures are missing');
}
