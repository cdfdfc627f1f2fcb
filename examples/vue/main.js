// An order that is followed: each frame of /ws/orders/<id>/ is the whole order.
import { createApp, ref } from "vue/dist/vue.esm-bundler.js";
import { useEndpoint } from "./useEndpoint.js";

const asked = new URLSearchParams(location.search);
const server = asked.get("server") ?? "ws://127.0.0.1:8080";
const token = asked.get("token") ?? undefined;

createApp({
  setup() {
    const id = ref(2);
    return { id, ...useEndpoint(() => `${server}/ws/orders/${id.value}/`, { token }) };
  },
  template: `
    <label>Order <input id="id" type="number" min="1" v-model.lazy="id"></label>
    <p id="phase">{{ phase }} {{ reason }}</p>
    <p v-if="message" id="order">{{ message.order_id }}: {{ message.status }}, {{ message.progress }} %</p>
  `,
}).mount("#root");
