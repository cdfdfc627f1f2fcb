// A composable over the client module: the connection follows its address, and ends with its component.
import { onScopeDispose, readonly, ref, shallowRef, toValue, watch } from "vue";
import { connectEndpoint } from "../../pages/rowcast.js";

/**
 * @param {import("vue").MaybeRefOrGetter<string>} url
 * @param {import("../../pages/rowcast.js").EndpointOptions} [options]
 */
export function useEndpoint(url, options = {}) {
  const phase = ref("connecting");
  const reason = ref("");
  const message = shallowRef(null);
  let socket = null;

  watch(
    () => toValue(url),
    (to) => {
      socket?.close();
      message.value = null;
      socket = connectEndpoint(to, {
        ...options,
        message(frame) {
          message.value = frame;
          options.message?.(frame);
        },
        status(now) {
          phase.value = now.phase;
          reason.value = now.reason;
          options.status?.(now);
        },
      });
    },
    { immediate: true },
  );
  onScopeDispose(() => socket?.close());

  const send = (frame) => socket?.send(frame) ?? false;
  return { phase: readonly(phase), reason: readonly(reason), message, send };
}
