// centrifuge-js with maps and polled keys, led by JSON lines as javascript_sdk.mjs is.
//
// The argument is the encoding (json or protobuf); in Protobuf payloads are JSON as
// bytes.

import { createInterface } from 'node:readline';
import { Centrifuge as JSONCentrifuge } from 'centrifuge';
import { Centrifuge as ProtobufCentrifuge } from 'centrifuge/build/protobuf';
import WebSocket from 'ws';

const [encoding = 'json'] = process.argv.slice(2);
const protobuf = encoding === 'protobuf';
const Centrifuge = protobuf ? ProtobufCentrifuge : JSONCentrifuge;
const clients = new Map();

function inward(payload) {
  if (!protobuf || payload == null) return payload ?? null;
  return payload.length ? JSON.parse(new TextDecoder().decode(payload)) : null;
}

function outward(data) {
  return protobuf ? new TextEncoder().encode(JSON.stringify(data)) : data;
}

function tell(event, fields) {
  process.stdout.write(JSON.stringify({ event, ...fields }) + '\n');
}

function entry(ctx) {
  return {
    key: ctx.key,
    data: inward(ctx.data),
    removed: ctx.removed ?? false,
    user: ctx.info?.user ?? '',
  };
}

function subscription(client, order) {
  const options = { pageSize: order.page_size ?? 0, minResubscribeDelay: 50 };
  if (order.delta) options.delta = 'fossil';
  if (order.type === 2) return client.newMapClientsSubscription(order.channel, options);
  if (order.type === 3) return client.newMapUsersSubscription(order.channel, options);
  return client.newMapSubscription(order.channel, options);
}

const orders = {
  connect(order) {
    const client = new Centrifuge(order.url, {
      websocket: WebSocket,
      token: order.token,
      minReconnectDelay: 50,
      maxReconnectDelay: 300,
    });
    clients.set(order.client, client);
    client.on('connected', () => tell('connected', { client: order.client }));
    client.connect();
  },
  disconnect(order) {
    clients.get(order.client).disconnect();
  },
  reconnect(order) {
    clients.get(order.client).connect();
  },
  subscribe(order) {
    const sub = subscription(clients.get(order.client), order);
    const { client, channel } = order;
    sub
      .on('sync', (ctx) => tell('sync', { client, channel, entries: ctx.entries.map(entry) }))
      .on('update', (ctx) => tell('update', { client, channel, ...entry(ctx) }))
      .on('subscribed', (ctx) => tell('subscribed', { client, channel, recovered: ctx.recovered }));
    sub.subscribe();
  },
  poll(order) {
    const { client, channel, signature } = order;
    const options = {
      getSignature: async () => signature,
      minResubscribeDelay: 50,
      maxResubscribeDelay: 300,
      ...(order.delta ? { delta: 'fossil' } : {}),
    };
    const sub = clients.get(client).newSharedPollSubscription(channel, options);
    sub
      .on('update', (ctx) => tell('update', { client, channel, ...entry(ctx), version: ctx.version ?? 0 }))
      .on('subscribed', () => tell('subscribed', { client, channel }))
      .on('subscribing', (ctx) => tell('subscribing', { client, channel, code: ctx.code }))
      .on('error', (ctx) => tell('poll_error', { client, channel, code: ctx.error?.code ?? 0 }));
    sub.subscribe();
    sub.track(signature.keys);
  },
  untrack(order) {
    clients.get(order.client).getSharedPollSubscription(order.channel).untrack(order.keys);
  },
  unsubscribe(order) {
    clients.get(order.client).getMapSubscription(order.channel).unsubscribe();
  },
  async publish(order) {
    const sub = clients.get(order.client).getMapSubscription(order.channel);
    await sub.publish(order.key, outward(order.data));
  },
  async remove(order) {
    await clients.get(order.client).mapRemove(order.channel, order.key);
  },
};

async function carryOut(order) {
  const { call } = order;
  try {
    tell('answer', { call, result: (await orders[order.do](order)) ?? null });
  } catch (error) {
    tell('answer', { call, error: error.code ?? String(error) });
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  carryOut(JSON.parse(line));
}
for (const client of clients.values()) client.disconnect();
