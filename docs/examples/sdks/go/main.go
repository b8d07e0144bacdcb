// Print what is published into the channel "news".
package main

import (
	"fmt"
	"log"
	"os"

	"github.com/centrifugal/centrifuge-go"
)

func main() {
	address := "ws://localhost:8000/connection/websocket"
	if len(os.Args) > 1 {
		address = os.Args[1]
	}
	client := centrifuge.NewJsonClient(address, centrifuge.Config{})
	defer client.Close()

	subscription, err := client.NewSubscription("news")
	if err != nil {
		log.Fatal(err)
	}
	subscription.OnSubscribed(func(centrifuge.SubscribedEvent) {
		fmt.Println("listening")
	})
	subscription.OnPublication(func(event centrifuge.PublicationEvent) {
		fmt.Println(string(event.Data))
	})
	if err := subscription.Subscribe(); err != nil {
		log.Fatal(err)
	}
	if err := client.Connect(); err != nil {
		log.Fatal(err)
	}
	select {} // until the program is stopped
}
