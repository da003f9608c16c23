import type { Command } from 'commander';
import { writeDurably } from '../../shared/store/durable-file.ts';
import { publicHex } from '../../shared/trust/keys.ts';
import { argument, type Call, leaf, usage } from '../command.ts';
import { printPublicKey, readPublicKey } from './public-file.ts';
import { newSecret } from './secrets.ts';

export function withSecrets(command: Command): Command {
  return command
    .option('--passphrase-file <file>', 'a file whose first line is the passphrase or PIN')
    .option('--passphrase-fd <number>', 'an open file descriptor to read it from; without either it is asked for');
}

/** Single keys, as each signer makes and keeps one on a machine of their own. */
export function declareKeyCommands(keys: Command): void {
  withSecrets(leaf(keys, 'new <file>', "one key of one's own: FILE.key under a passphrase, FILE.pub to hand out", create)).option(
    '--plain',
    'FILE.pem without a passphrase, for a daemon',
  );
  leaf(keys, 'show <keys...>', 'id and public half of key files, .pub files or tokens; no passphrase is needed', show);
}

async function create(call: Call): Promise<undefined> {
  const [{ createSigningKey, writeKeyFile, writeSigningKey }, { encryptKey }] = await Promise.all([
    import('../../shared/trust/keys.ts'),
    import('../../shared/trust/encrypted-key.ts'),
  ]);
  const name = argument(call, 0, 'the file').replace(/\.(?:key|pem|pub)$/, '');
  const key = await createSigningKey();
  const file = `${name}${call.options.flag('plain') ? '.pem' : '.key'}`;
  if (call.options.flag('plain')) await writeSigningKey(file, key);
  else await writeKeyFile(file, await encryptKey(key, await newSecret(call.options, `passphrase for ${file}`)));
  await writeDurably(`${name}.pub`, printPublicKey(key));
  call.output.result({ file, publicFile: `${name}.pub`, keyId: key.keyId, public: publicHex(key) }, () => {
    call.output.line(`${file}: key ${key.keyId}`);
    call.output.line(`${name}.pub holds nothing secret: carry it to whoever drafts the root`);
  });
  return undefined;
}

async function show(call: Call): Promise<undefined> {
  if (call.rest.length === 0) throw usage('The keys are missing');
  const shown: { key: string; keyId: string; public: string }[] = [];
  for (const reference of call.rest) {
    const key = await readPublicKey(reference);
    shown.push({ key: reference, keyId: key.keyId, public: publicHex(key) });
  }
  call.output.result(shown, () => {
    for (const one of shown) call.output.line(`${one.keyId}  ${one.key}`);
  });
  return undefined;
}
