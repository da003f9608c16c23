import { loadCredentials } from '../certs/credentials.ts';
import { systemClock } from '../shared/base/clock.ts';
import { runDaemon } from '../shared/base/daemon.ts';
import { ProviderConfig } from './config.ts';
import { startProvider } from './provider.ts';

await runDaemon('provider', ProviderConfig, async ({ config, log }) => {
  const { data, trust, keys, listen, metrics, enrolment, patches } = config;
  const provider = await startProvider({
    data,
    trust,
    keys,
    listen,
    metrics,
    patches: patches.make,
    ...(enrolment === undefined ? {} : { enrolment: { authorities: enrolment.authorities, leafDays: enrolment.leaf_days } }),
    credentials: await loadCredentials(config.credentials, systemClock),
    clock: systemClock,
    log,
  });
  log.info('ready', { port: provider.port, host: listen.host });
  return provider;
});
