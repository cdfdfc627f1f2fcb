// The rates of /ws/rates/ for a Flutter app: a ChangeNotifier that a widget listens to. Needs web_socket_channel ^3.0 in
// pubspec.yaml. This file is a sketch: no test compiles it.
import 'dart:async';
import 'dart:convert';
import 'dart:math';

import 'package:flutter/foundation.dart';
import 'package:web_socket_channel/web_socket_channel.dart';

enum LinkPhase { connecting, live, waiting, closed }

class RatesClient extends ChangeNotifier {
  RatesClient(this.url) {
    _open();
  }

  /// Such as `wss://rates.example.com/ws/rates/`.
  final Uri url;

  static const _backoffMin = Duration(milliseconds: 500);
  static const _backoffMax = Duration(seconds: 20);
  static const _finalCodes = {1000, 1002, 1003, 1007, 1008, 1009, 4400, 4401, 4403, 4404};

  /// By pair, such as `USD_NGN`: units of the source for one of the destination.
  final Map<String, double> _rates = {};
  final Random _random = Random();
  LinkPhase _phase = LinkPhase.connecting;
  WebSocketChannel? _channel;
  StreamSubscription<dynamic>? _listening;
  Timer? _retry;
  int _failures = 0;

  LinkPhase get phase => _phase;

  /// How many units of [destination] for [amount] of [source]; null while the rate is not known.
  double? convert(double amount, String source, String destination) {
    final rate = _rates['${source}_$destination'];
    return rate == null || rate == 0 ? null : amount / rate;
  }

  Future<void> _open() async {
    _tell(LinkPhase.connecting);
    final channel = WebSocketChannel.connect(url);
    _channel = channel;
    try {
      await channel.ready;
    } catch (_) {
      if (channel == _channel) _lost(null);
      return;
    }
    if (channel != _channel) return;
    // The server sends `all_rates` unasked.
    _listening = channel.stream.listen(
      _receive,
      onError: (_) {}, // onDone follows
      onDone: () {
        if (channel == _channel) _lost(channel.closeCode);
      },
    );
  }

  void _receive(dynamic text) {
    final frame = jsonDecode(text as String) as Map<String, dynamic>;
    final data = frame['data'];
    switch (frame['type']) {
      case 'all_rates':
        _rates.clear();
        (data as Map<String, dynamic>).forEach(_take);
        _failures = 0;
        _tell(LinkPhase.live);
      case 'rate_update':
        _take(data['key'] as String, data['rate']);
        notifyListeners();
      case 'all_rates_update':
        // After a whole refresh; the changed rates came one by one before.
        break;
    }
  }

  void _take(String key, dynamic answer) {
    _rates[key] = (answer['data']['rate'] as num).toDouble();
  }

  void _lost(int? code) {
    _listening?.cancel();
    _channel = null;
    if (_finalCodes.contains(code)) {
      _tell(LinkPhase.closed);
      return;
    }
    // Half of the wait is random, so that not all apps come back in the same moment.
    final doubled = _backoffMin * pow(2, min(_failures++, 10)).toInt();
    final ceiling = doubled > _backoffMax ? _backoffMax : doubled;
    _retry = Timer(ceiling * (0.5 + _random.nextDouble() / 2), _open);
    _tell(LinkPhase.waiting);
  }

  void _tell(LinkPhase phase) {
    _phase = phase;
    notifyListeners();
  }

  @override
  void dispose() {
    _retry?.cancel();
    _listening?.cancel();
    _channel?.sink.close();
    _channel = null;
    super.dispose();
  }
}
