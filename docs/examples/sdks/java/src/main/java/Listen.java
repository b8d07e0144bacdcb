import static java.nio.charset.StandardCharsets.UTF_8;

import io.github.centrifugal.centrifuge.Client;
import io.github.centrifugal.centrifuge.EventListener;
import io.github.centrifugal.centrifuge.Options;
import io.github.centrifugal.centrifuge.PublicationEvent;
import io.github.centrifugal.centrifuge.SubscribedEvent;
import io.github.centrifugal.centrifuge.Subscription;
import io.github.centrifugal.centrifuge.SubscriptionEventListener;

/** Prints what is published into the channel "news". */
public class Listen {
    public static void main(String[] arguments) throws Exception {
        String address = arguments.length > 0
            ? arguments[0]
            : "ws://localhost:8000/connection/websocket";
        Client client = new Client(address, new Options(), new EventListener() {});
        Subscription news = client.newSubscription("news", new SubscriptionEventListener() {
            @Override
            public void onSubscribed(Subscription subscription, SubscribedEvent event) {
                System.out.println("listening");
            }

            @Override
            public void onPublication(Subscription subscription, PublicationEvent event) {
                System.out.println(new String(event.getData(), UTF_8));
            }
        });
        news.subscribe();
        client.connect();
        Thread.currentThread().join(); // until the program is stopped
    }
}
