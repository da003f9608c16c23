import type { Command } from 'commander';
import { argument, id, inherit, leaf } from '../command.ts';
import { declareKeyCommands, withSecrets } from '../keys/key-commands.ts';
import { declareRootCommands } from '../keys/root-commands.ts';
import { newSecret, secretsOf } from '../keys/secrets.ts';

export function declare(parent: Command, description: string): void {
  const keys = inherit(parent.command('keys')).description(
    `${description}.\nWorks offline; what it writes under keys/offline never goes to a machine with a network.`,
  );

  declareKeyCommands(keys);
  declareRootCommands(keys);

  withSecrets(
    leaf(keys, 'create [applications...]', 'all signing keys, and the first root and targets metadata', async (call) => {
      const { ceremonyLayout, createKeys } = await import('../../provider/publish/ceremony.ts');
      const directory = call.options.needed('dir', '--dir');
      const applications = call.rest.map((name) => id(name, 'application'));
      const passphrase = call.options.flag('encrypt') ? await newSecret(call.options, 'passphrase for the offline keys') : undefined;
      const made = await createKeys({ directory, applications, passphrase });
      const layout = ceremonyLayout(directory);
      call.output.result({ directory, applications, ...layout, ...made }, () => {
        call.output.line(`keys made in ${directory}${applications.length === 0 ? '' : ` for ${applications.join(', ')}`}`);
        call.output.line(`stays offline:             ${layout.offline}`);
        call.output.line(`to the provider (keys):    ${layout.online}`);
        call.output.line(`to the provider (trust):   ${layout.metadata}`);
        call.output.line(`to gateways and devices:   ${made.root}`);
      });
      return undefined;
    }),
  )
    .option('--dir <dir>', 'the folder to make', 'keys')
    .option('--encrypt', 'puts the offline keys under one passphrase');

  withSecrets(
    leaf(keys, 'delegate <application>', 'lets one more application release: a key of its own, named by the targets role', async (call) => {
      const { delegateApplication } = await import('../../provider/publish/ceremony.ts');
      const directory = call.options.needed('dir', '--dir');
      const application = id(argument(call, 0, 'the application'), 'application');
      const made = await delegateApplication({ directory, application, secrets: secretsOf(call.options) });
      call.output.result({ application, ...made }, () =>
        call.output.line(`${application} may release now; copy ${made.targets} to the provider's trust folder and restart it`),
      );
      return undefined;
    }),
  ).option('--dir <dir>', 'the folder of the keys', 'keys');

  withSecrets(
    leaf(keys, 'replace-assignment <key>', 'names another key (.pub, key file, token) for assignment, in place of one that was stolen', async (call) => {
      const [{ replaceAssignment }, { readPublicKey }] = await Promise.all([import('../../provider/publish/ceremony.ts'), import('../keys/public-file.ts')]);
      const directory = call.options.needed('dir', '--dir');
      const key = await readPublicKey(argument(call, 0, 'the key'));
      const made = await replaceAssignment({ directory, key, secrets: secretsOf(call.options) });
      call.output.result({ keyId: key.keyId, ...made }, () =>
        call.output.line(`${key.keyId} assigns now; copy ${made.targets} to the provider's trust folder and the key to its keys, and restart it`),
      );
      return undefined;
    }),
  ).option('--dir <dir>', 'the folder of the keys', 'keys');
}
