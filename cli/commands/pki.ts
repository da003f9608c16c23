import { setTimeout as sleep } from 'node:timers/promises';
import type { Command } from 'commander';
import type { Issued } from '../../certs/pki-directory.ts';
import { identityPath } from '../../shared/base/identity.ts';
import { argument, type Call, id, inherit, leaf } from '../command.ts';

/** The offline PKI: works on a folder, needs no network and no provider. */
export function declare(parent: Command, description: string): void {
  const pki = inherit(parent.command('pki')).description(
    `${description}.\nWorks offline on a folder with the keys of all CAs; keep it away from every network.`,
  );
  const inFolder = (command: Command): Command => command.option('--dir <dir>', 'the folder of the PKI', 'pki');
  const issuing = (command: Command): Command =>
    inFolder(command)
      .requiredOption('--out <dir>', 'the credentials folder to make: key.pem, chain.pem, root.pem')
      .option('--days <n>', 'valid for so many days')
      .option('--from-now', 'valid from this moment, not from an hour ago: for a name whose earlier certificates were revoked');
  const named = (command: Command): Command =>
    command
      .option('--dns <name>', 'a DNS name it is dialled by (repeatable)', gather, [])
      .option('--ip <address>', 'an address it is dialled by (repeatable)', gather, []);

  inFolder(
    leaf(pki, 'init', 'the root CA, and below it the CAs for provider and ops', async (call) => {
      const { createPki } = await import('../../certs/pki-directory.ts');
      const trustDomain = call.options.needed('trustDomain', '--trust-domain');
      const directory = folder(call);
      await createPki({ directory, trustDomain });
      call.output.result({ directory, trustDomain }, () => call.output.line(`PKI for ${trustDomain} made in ${directory}: keep it offline`));
      return undefined;
    }).requiredOption('--trust-domain <domain>', 'the name all identities begin with, for example vendor.example'),
  );
  inFolder(
    leaf(pki, 'customer <customer>', "a customer's CA", async (call) => {
      const { addCustomer } = await import('../../certs/pki-directory.ts');
      const customer = id(argument(call, 0, 'the customer'), 'customer');
      await addCustomer({ directory: folder(call), customer });
      call.output.result({ customer }, () => call.output.line(`CA of customer ${customer} made`));
      return undefined;
    }),
  );
  inFolder(
    leaf(pki, 'group <customer> <group>', "the issuing CA of one customer's group: its certificates are what entitles", async (call) => {
      const { addGroup } = await import('../../certs/pki-directory.ts');
      const customer = id(argument(call, 0, 'the customer'), 'customer');
      const group = id(argument(call, 1, 'the group'), 'group');
      await addGroup({ directory: folder(call), customer, group });
      call.output.result({ customer, group }, () => call.output.line(`CA of group ${customer}/${group} made`));
      return undefined;
    }),
  );
  inFolder(
    leaf(
      pki,
      'rekey-group <customer> <group>',
      'a new CA for a group, beside the old one: its devices get certificates from the new one from now on',
      async (call) => {
        const { rekeyGroup } = await import('../../certs/pki-directory.ts');
        const customer = id(argument(call, 0, 'the customer'), 'customer');
        const group = id(argument(call, 1, 'the group'), 'group');
        const { generation } = await rekeyGroup({ directory: folder(call), customer, group });
        call.output.result({ customer, group, generation }, () => {
          call.output.line(`CA of group ${customer}/${group} made: generation ${generation}`);
          call.output.line(`When all its devices have new certificates: wardcast group retire-ca ${customer} ${group} --oldest ${generation} --reason …`);
        });
        return undefined;
      },
    ),
  );
  named(
    issuing(
      leaf(pki, 'provider <name>', "the provider's certificate", async (call) => {
        const { issueProvider } = await import('../../certs/pki-directory.ts');
        return issued(call, await issueProvider({ ...(await request(call)), ...names(call), name: id(argument(call, 0, 'the name'), 'name') }));
      }),
    ),
  );
  issuing(
    leaf(pki, 'ops <name>', 'the certificate of a person or program that operates the provider', async (call) => {
      const { issueOps } = await import('../../certs/pki-directory.ts');
      return issued(call, await issueOps({ ...(await request(call)), name: id(argument(call, 0, 'the name'), 'name') }));
    }),
  );
  named(
    issuing(
      leaf(pki, 'gateway <customer> <site> <gateway>', "a site's gateway", async (call) => {
        const { issueGateway } = await import('../../certs/pki-directory.ts');
        return issued(
          call,
          await issueGateway({ ...(await request(call)), ...names(call), ...place(call), gateway: id(argument(call, 2, 'the gateway'), 'gateway') }),
        );
      }),
    ),
  );
  issuing(
    leaf(pki, 'device <customer> <site> <group> <device>', 'one device', async (call) => {
      const { issueDevice } = await import('../../certs/pki-directory.ts');
      const group = id(argument(call, 2, 'the group'), 'group');
      return issued(call, await issueDevice({ ...(await request(call)), ...place(call), group, device: id(argument(call, 3, 'the device'), 'device') }));
    }),
  );
  declareIssuing(pki, inFolder, issuing);
  inFolder(
    leaf(pki, 'list', 'every CA and every certificate issued, with its expiry', async (call) => {
      const { listPki } = await import('../pki-list.ts');
      const rows = await listPki(folder(call));
      call.output.result(rows, () =>
        call.output.table(
          rows,
          [
            { title: 'KIND', value: (row) => row.kind },
            { title: 'NAME', value: (row) => row.name },
            { title: 'EXPIRES', value: (row) => row.expires },
            { title: 'SERIAL', value: (row) => row.serial },
          ],
          'nothing issued yet',
        ),
      );
      return undefined;
    }),
  );
}

/** What lets devices make their own keys: claims, issuing online, and requests that are carried here. */
function declareIssuing(pki: Command, inFolder: (command: Command) => Command, issuing: (command: Command) => Command): void {
  issuing(
    leaf(pki, 'claim <customer> <group> <claim>', 'a certificate to ship with all devices of a group: it can ask to enrol, and nothing else', async (call) => {
      const { issueClaim } = await import('../../certs/pki-directory.ts');
      const customer = id(argument(call, 0, 'the customer'), 'customer');
      const group = id(argument(call, 1, 'the group'), 'group');
      return issued(call, await issueClaim({ ...(await request(call)), customer, group, claim: id(argument(call, 2, 'the claim'), 'claim') }));
    }),
  );
  inFolder(
    leaf(pki, 'sign-request <customer> <site> <group> <device>', 'certify the key of a request that was carried here from a device', async (call) => {
      const [{ signRequest }, { readFile }] = await Promise.all([import('../../certs/pki-directory.ts'), import('node:fs/promises')]);
      const group = id(argument(call, 2, 'the group'), 'group');
      const identity = { role: 'device', ...place(call), group, device: id(argument(call, 3, 'the device'), 'device') } as const;
      return issued(
        call,
        await signRequest({ ...(await request(call)), identity, request: await readFile(call.options.needed('request', '--request'), 'utf8') }),
      );
    })
      .requiredOption('--request <file>', 'the request, as `wardcast agent request` wrote it')
      .requiredOption('--out <file>', 'the chain to carry back; it holds no secret')
      .option('--days <n>', 'valid for so many days'),
  );
  inFolder(
    leaf(pki, 'export-issuer', "copy a CA with its key for the provider, which then certifies that group's devices online", async (call) => {
      const { exportIssuer } = await import('../../certs/pki-directory.ts');
      const customer = id(call.options.needed('customer', '--customer'), 'customer');
      const named = call.options.text('group');
      const group = named === undefined ? undefined : id(named, 'group');
      const made = await exportIssuer({ directory: folder(call), customer, group, out: call.options.needed('out', '--out') });
      call.output.result({ customer, group: group ?? null, out: made }, () =>
        call.output.line(
          `${group === undefined ? `CA of customer ${customer} (for its gateways)` : `CA of group ${customer}/${group}`} with its key in ${made}`,
        ),
      );
      return undefined;
    })
      .requiredOption('--customer <customer>', 'whose')
      .option('--group <group>', "the group; absent: the customer's own CA, so that gateways renew online")
      .requiredOption('--out <dir>', 'the folder that provider.toml names under [enrolment] authorities'),
  );
}

const DAY = 24 * 60 * 60 * 1000;

function folder(call: Call): string {
  return call.options.needed('dir', '--dir');
}

async function request(call: Call): Promise<{ directory: string; out: string; notBefore?: Date; notAfter?: Date }> {
  const days = call.options.number('days', '--days');
  return {
    directory: folder(call),
    out: call.options.needed('out', '--out'),
    ...(call.options.flag('fromNow') ? { notBefore: await nextSecond() } : {}),
    ...(days === undefined ? {} : { notAfter: new Date(Date.now() + days * DAY) }),
  };
}

/** Revocations and certificates count whole seconds: what is made in the second of a revocation would be revoked with the rest, so that second is waited out. */
async function nextSecond(): Promise<Date> {
  const begins = Math.floor(Date.now() / 1000) * 1000 + 1000;
  while (Date.now() < begins) await sleep(begins - Date.now());
  return new Date(begins);
}

function names(call: Call): { dnsNames: readonly string[]; ips: readonly string[] } {
  return { dnsNames: call.options.texts('dns'), ips: call.options.texts('ip') };
}

function place(call: Call): { customer: string; site: string } {
  return { customer: id(argument(call, 0, 'the customer'), 'customer'), site: id(argument(call, 1, 'the site'), 'site') };
}

function issued(call: Call, leafIssued: Issued): undefined {
  const name = identityPath(leafIssued.identity);
  const expires = leafIssued.expires.toISOString();
  call.output.result({ identity: name, out: leafIssued.out, expires }, () =>
    call.output.line(`${name}: credentials in ${leafIssued.out}, valid until ${expires.slice(0, 10)}`),
  );
}

function gather(value: string, before: string[]): string[] {
  return [...before, value];
}
