import { WardcastError } from '../../shared/base/errors.ts';
import { identityPath } from '../../shared/base/identity.ts';
import type { Rights } from '../../shared/wire/rights.ts';

export interface UserRights extends Rights {
  /** The certificate's subject as mosquitto spells it with `use_subject_as_username`. */
  readonly user: string;
}

/**
 * The rights as an access list of mosquitto (mosquitto.conf(5), acl_file). Whom it does not name may nothing. mosquitto knows no URIs: it takes the
 * subject for the user's name, so the list is as good as the CAs are honest about subjects.
 */
export function mosquittoAcl(rights: readonly UserRights[]): string {
  const owner = rights.find((row) => row.owner);
  const broker = owner === undefined ? 'nobody' : identityPath(owner.identity);
  return [
    `# Who may hear and say what at the broker of ${broker}.`,
    '# Written by `wardcast policy export`; write it anew whenever a certificate was issued. It needs, in mosquitto.conf:',
    ...SETTINGS.map((line) => `#   ${line}`),
    // One connection per certificate, as at our own brokers; of ops there may be several at the provider's.
    ...(owner?.identity.role === 'gateway' ? ['#   use_username_as_clientid true'] : []),
    ...rights.flatMap(section),
    '',
  ].join('\n');
}

export const SETTINGS = ['require_certificate true', 'use_subject_as_username true', 'allow_anonymous false', 'retain_available false'] as const;

function section({ identity, user, publish, subscribe, owner }: UserRights): string[] {
  return [
    '',
    `# ${identityPath(identity)}${owner ? ', the owner' : ''}`,
    `user ${user}`,
    ...subscribe.map((filter) => `topic read ${filter}`),
    ...publish.map((filter) => `topic write ${filter}`),
    // `+` takes an empty level for one (MQTT 3.1.1, 4.7.1.3); the policy does not.
    ...(owner ? [] : publish.flatMap(withEmptyLevel).map((filter) => `topic deny ${filter}`)),
  ];
}

function withEmptyLevel(filter: string): string[] {
  const levels = filter.split('/');
  return levels.flatMap((level, at) => (level === '+' ? [levels.with(at, '').join('/')] : []));
}

/** RFC 2253: the innermost part first. @throws CERT_BAD_IDENTITY for a subject that would need escaping: ours never do */
export function mosquittoUser(subject: string): string {
  const parts = subject.split('\n');
  if (!parts.every((part) => /^(O|OU|CN)=[a-z0-9-]+$/.test(part))) {
    throw new WardcastError('CERT_BAD_IDENTITY', `The subject ${JSON.stringify(subject.slice(0, 300))} is none that \`wardcast pki\` writes`, {
      remedy: 'Issue the certificate anew with `wardcast pki`.',
    });
  }
  return parts.reverse().join(',');
}
